"""Broken videos and senseless tool calls, by the thousand: none may crash, hang or escape the caller.

`python -m benchmarks.fuzz [--quick]`. A broken file may cost the decode process, which is counted; what it raises here
must be `VideoError`. A senseless call must be answered or refused with `ToolError`, in one short sentence.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.measure import finish, table
from configs.episode import EpisodeConfig
from tests.films import movies
from tests.films.clips import numbered
from tools.decoding.frame import DeadlineError
from tools.decoding.video import VideoError, open_video
from tools.errors import ToolError
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import TOOLS, call
from tools.scene import Limits, Scene
from tools.tool import shown

FILE_TIMEOUT_S = 5.0
SECRET = "this is not for the agent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 files and 5,000 calls")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="videoseeker-fuzz-") as folder:
        films = numbered(Path(folder), 40)
        files = broken_files(films, Path(folder) / "broken", 1000 if quick else 20_000)
        calls = senseless_calls(films["H.264"], Path(folder), 5000 if quick else 100_000)
    bad = files["unexpected"] + files["slow"] + calls["unexpected"] + calls["escaped"] + calls["slow"]
    finish("fuzz", {}, {"files": files, "calls": calls, "bad": bad})


def broken_files(films: dict[str, str], path: Path, count: int) -> dict[str, int]:
    """How mutated files fare."""
    rng = random.Random(0)
    originals = [Path(film).read_bytes() for film in films.values()]
    found: Counter[str] = Counter()
    for i in range(count):
        path.write_bytes(_broken(rng, rng.choice(originals)))
        started = time.monotonic()
        found[_outcome(path, rng)] += 1
        found["slow"] += time.monotonic() - started > 4 * FILE_TIMEOUT_S
        if (i + 1) % 5000 == 0:
            print(f"{i + 1} files: {dict(found)}", flush=True)
    kinds = ("read", "refused", "decode process lost", "deadline missed", "unexpected", "slow")
    table(f"{count} broken files", kinds, [[found[kind] for kind in kinds]])
    return {kind: found[kind] for kind in kinds}


def _broken(rng: random.Random, data: bytes) -> bytes:
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        place = rng.randrange(len(content)) if content else 0
        match rng.randrange(7):
            case 0:
                content[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                content = content[:place]
            case 2:
                content[place : place + rng.randrange(1, 400)] = rng.randbytes(rng.randrange(1, 400))
            case 3:
                content[place:place] = content[place // 2 : place // 2 + rng.randrange(2000)]
            case 4:
                del content[place : place + rng.randrange(1, 3000)]
            case 5:  # sizes and counts of headers are four bytes
                content[place : place + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1")
                )
            case _:
                head = rng.randrange(min(len(content), 600) or 1)
                content[head : head + 2] = rng.randbytes(2)
    return bytes(content)


def _outcome(path: Path, rng: random.Random) -> str:
    try:
        video = open_video(path, FILE_TIMEOUT_S)
        start = rng.uniform(-1, 6)
        video.frames_at([rng.uniform(-2, 50)], 64 * 64, 16, FILE_TIMEOUT_S)
        video.clip(start, start + rng.uniform(0, 4), 2.0, 6, 64 * 64, 16, FILE_TIMEOUT_S)
    except DeadlineError:
        return "deadline missed"
    except VideoError as error:
        return "decode process lost" if "died while reading" in str(error) else "refused"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        print(f"unexpected: {type(error).__name__}: {error}", flush=True)
        return "unexpected"
    return "read"


def senseless_calls(film: str, folder: Path, count: int) -> dict[str, int]:
    """How mutated tool calls fare."""
    rng = random.Random(1)
    (folder / "secret.txt").write_text(SECRET)
    Image.fromarray(movies.picture(5)).save(folder / "mark.png")
    mark = VisualPrompt(str(folder / "mark.png"), 1.0, "rectangle", {"box": [60, 60, 40, 40]})
    scene, limits = Scene(film, (mark,), root=str(folder)), Limits.of(EpisodeConfig(tool_max_pixels=64 * 64))
    found: Counter[str] = Counter()
    for i in range(count):
        name, arguments = _senseless(rng, folder)
        started = time.monotonic()
        try:
            content = call(name, arguments, list(TOOLS), scene, limits)
            told = "".join(part for part in content if isinstance(part, str))
            found["answered"] += 1
        except ToolError as error:
            told = str(error)
            found["refused"] += 1
            found["unexpected"] += len(told) > 400 or "\n" in told
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            print(f"unexpected: {shown(name)}: {type(error).__name__}: {error}", flush=True)
            told = ""
            found["unexpected"] += 1
        found["escaped"] += SECRET in told
        found["slow"] += time.monotonic() - started > limits.timeout_s
        if (i + 1) % 25_000 == 0:
            print(f"{i + 1} calls: {dict(found)}", flush=True)
    kinds = ("answered", "refused", "unexpected", "escaped", "slow")
    table(f"{count} senseless calls", kinds, [[found[kind] for kind in kinds]])
    return {kind: found[kind] for kind in kinds}


def _senseless(rng: random.Random, folder: Path) -> tuple[Any, Any]:
    name: Any = rng.choice(list(TOOLS))
    parameters = TOOLS[name].schema()["function"]["parameters"]["properties"]
    arguments: Any = {key: _fitting(rng, kind) for key, kind in parameters.items() if rng.random() < 0.9}
    for _ in range(rng.choice((0, 1, 1, 2))):
        key = rng.choice([*parameters, "scene", "limits", "self", "fps", ""])
        arguments[key] = _odd(rng, folder)
    if rng.random() < 0.03:
        arguments = _odd(rng, folder)
    if rng.random() < 0.03:
        name = _odd(rng, folder)
    return name, arguments


def _fitting(rng: random.Random, kind: dict[str, Any]) -> Any:
    if kind["type"] == "number":
        return rng.choice((rng.uniform(-1, 6), rng.randrange(6)))
    if kind["type"] == "array":
        return [rng.uniform(-100, 1100) for _ in range(rng.choice((1, 3, 4, 4, 4, 9)))]
    return kind["default"]


def _odd(rng: random.Random, folder: Path) -> Any:
    return rng.choice(
        (
            None,
            True,
            "",
            "video_1",
            "frame_1",
            "frame_99999999999999999999",
            "../secret.txt",
            str(folder / "secret.txt"),
            f"file://{folder}/secret.txt",
            "http://127.0.0.1:1/x",
            "; cat /etc/passwd",
            "\0",
            "\ud800",
            "x" * 100_000,
            -1,
            0,
            1e308,
            -1e-320,
            float("nan"),
            float("inf"),
            10**5000,
            [],
            [[]],
            [1e308, -1e308, 1e308, 1e308],
            [float("nan")] * 4,
            list(range(10_000)),
            {},
            {"a": {"b": [1]}},
            b"bytes",
        )
    )


if __name__ == "__main__":
    main()
