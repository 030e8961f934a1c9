"""Checkpoint folders, `step-000010`.

Invariant: a folder of that name is whole. It is filled under another name, described in a manifest, flushed to disk and
renamed; what a crash leaves behind has another name and is never read.
"""

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from storage.files import PARTIAL, JsonObject, begin_folder, commit_folder

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{6,})")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message says why in one sentence."""


@contextmanager
def writing(directory: str | Path, step: int, facts: Mapping[str, object] | None = None) -> Iterator[Path]:
    """A folder to fill, which becomes `directory/step-NNNNNN` when the block ends, with `facts`, JSON values, in its
    manifest; where the block raises, nothing does."""
    partial = begin(directory, step)
    yield partial
    commit(partial, step, facts)


def begin(directory: str | Path, step: int) -> Path:
    """Make an empty folder to fill, for `commit` to rename."""
    return begin_folder(Path(directory) / f"step-{step:06d}")


def commit(partial: Path, step: int, facts: Mapping[str, object] | None = None) -> Path:
    """Make a checkpoint of the folder that `begin` gave, with `facts`, JSON values, in its manifest; its path."""
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    sizes = {str(path.relative_to(partial)): path.stat().st_size for path in files}
    (partial / MANIFEST).write_text(json.dumps({"step": step, **(facts or {}), "files": sizes}, indent=2))
    return commit_folder(partial, durable=True)


def latest(directory: str | Path) -> Path | None:
    """Find the checkpoint of the highest step that is whole; None if there is none."""
    for _, path in sorted(_steps(directory), reverse=True):
        try:
            read_manifest(path)
        except CheckpointError:
            continue
        return path
    return None


def step_of(path: str | Path) -> int:
    """Read the step of a whole checkpoint."""
    return int(read_manifest(path)["step"])


def read_manifest(path: str | Path) -> JsonObject:
    """Read the manifest of a checkpoint: `step`, `files` (name to bytes), and the facts it was written with. Raises
    CheckpointError where there is none, or a file that it lists is missing or of another size."""
    path = Path(path)
    try:
        manifest: JsonObject = json.loads((path / MANIFEST).read_text())
        sizes: dict[str, int] = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: is not a whole checkpoint (no readable {MANIFEST}: {error})") from None
    for name, size in sizes.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != size:
            raise CheckpointError(f"{path}: is not a whole checkpoint ({name} is missing or cut short)")
    return manifest


def best(directory: str | Path, metric: str) -> Path | None:
    """Find the whole checkpoint whose manifest has the highest of the fact `metrics[metric]`, or the lowest where
    `metric` has a leading minus; the newest of equals, None where none has a number."""
    name, sign = metric.removeprefix("-"), -1.0 if metric.startswith("-") else 1.0
    scores = []
    for step, path in _steps(directory):
        try:
            score = read_manifest(path).get("metrics", {}).get(name)
        except CheckpointError:
            continue
        if score is not None and not math.isnan(score):
            scores.append((sign * score, step, path))
    return max(scores)[-1] if scores else None


def prune(directory: str | Path, keep: int, metric: str = "") -> None:
    """Remove all checkpoints but the `keep` newest and the `best` by `metric`, and what crashes left behind."""
    old = [path for _, path in sorted(_steps(directory))]
    champion = best(directory, metric) if metric else None
    removed = [path for path in old[: max(0, len(old) - keep)] if path != champion]
    removed += sorted(Path(directory).glob(f"step-*{PARTIAL}"))
    for path in removed:
        shutil.rmtree(path)


def _steps(directory: str | Path) -> list[tuple[int, Path]]:
    matches = [(_NAME.fullmatch(path.name), path) for path in Path(directory).glob("step-*")]
    return [(int(match[1]), path) for match, path in matches if match]
