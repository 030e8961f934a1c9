"""The episodes of a run in the browser: on a local page, or as one file.

Invariant: what is shown is read from the run's folder; nothing is written there.
"""

import re
import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse

from env.chat import ChatFormat
from env.trajectory import TrajectoryError
from evals.answers import ENDING
from evals.pages.browser import Decode, RunEpisodes, Source, fragment, page
from recipes.folder import RunFolderError
from storage.files import write_text

PHASES = {"sft": "held out, after SFT", "grpo": "held out, after GRPO", "eval": "held out, `videoseeker eval`"}


def sources_of(run: Path) -> list[Source]:
    """The files of episodes of a run, or of one arm of it, in the order of training: held out after SFT, each training
    step with what was asked after it, held out after GRPO, benchmarks. Raises RunFolderError: there are none."""
    found: list[tuple[tuple[object, ...], Source]] = []
    for file in sorted(run.rglob("*.jsonl")) if run.is_dir() else []:
        if file.parent.name != "episodes":
            continue
        arm = _arm(run, file.parent.parent)
        step = re.fullmatch(r"step-(\d{6})", file.stem)
        if step:
            found.append(((arm, 1, int(step[1]), 1), Source(f"{arm}held out, step {int(step[1])}", file, int(step[1]))))
        else:
            order = list(PHASES).index(file.stem) if file.stem in PHASES else len(PHASES)
            place = (arm, 0 if file.stem == "sft" else 2, order, 0)
            found.append((place, Source(f"{arm}{PHASES.get(file.stem, file.stem)}", file)))
    for file in sorted(run.rglob(f"*{ENDING}")) if run.is_dir() else []:
        benchmark, policy, mode = file.parent.parts[-3:]
        found.append((("\uffff", 3, 0, 0), Source(f"{benchmark}: {policy}, {mode}", file)))
    for file in sorted(run.rglob("rollouts/*.arrow")) if run.is_dir() else []:
        step_of, arm = int(file.stem), _arm(run, file.parent.parent)
        found.append(((arm, 1, step_of, 0), Source(f"{arm}training step {step_of}", file, step_of)))
    if not found:
        raise RunFolderError(f"{run}: holds no episodes; name the folder of a run, e.g. runs/mine or runs/mine/both")
    return [source for _, source in sorted(found, key=lambda pair: (pair[0], pair[1].name))]


def write_browser(run: Path, out: Path, most: int) -> None:
    """Write the page with about `most` episodes in it, as many of each file. Raises RunFolderError: nothing is there;
    TrajectoryError: a file cannot be read."""
    write_text(out, page(run.resolve().name, RunEpisodes(sources_of(run)), _decoder(run), most))


def serve_browser(run: Path, host: str, port: int) -> None:
    """Serve the page until it is interrupted. Raises as `write_browser` does, and RunFolderError where it cannot listen
    there."""
    episodes, decode = RunEpisodes(sources_of(run)), _decoder(run)
    app = FastAPI(openapi_url=None)

    def index() -> HTMLResponse:
        return HTMLResponse(page(run.resolve().name, episodes))

    def one(key: int) -> HTMLResponse | PlainTextResponse:
        try:
            return HTMLResponse(fragment(episodes.load(key), decode))
        except TrajectoryError as error:
            return PlainTextResponse(str(error), 404)

    app.add_api_route("/", index, methods=["GET"], response_model=None)
    app.add_api_route("/episode/{key}", one, methods=["GET"], response_model=None)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise RunFolderError(
            f"port {port} of {host} cannot be listened on ({error.strerror}); choose another"
        ) from None
    with listening:
        address = f"[{host}]" if ":" in host else host
        print(f"{len(episodes.entries)} episodes at http://{address}:{port}  (Ctrl-C stops)", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def _arm(run: Path, folder: Path) -> str:
    """What an arm's sources are called after; nothing where the run is that arm."""
    return f"{folder.relative_to(run)}: " if run in folder.parents else ""


def _decoder(run: Path) -> Decode | None:
    """The tokenizer of the run's model; None where none is there."""
    models = sorted(run.rglob("tokenizer.json"), key=lambda path: (len(path.parts), path))
    return ChatFormat.from_pretrained(models[0].parent).decode if models else None
