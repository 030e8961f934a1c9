"""Films of a run that was moved or copied: episodes name them by where they lay when they were played.

Invariant: a film that is where it was is left there.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

from env.trajectory import Trajectory
from tools.decoding.frame import FrameRef


def at_hand(episode: Trajectory, file: Path) -> Trajectory:
    """An episode of a file with its films where they are now: under one of the folders that the file is in."""

    def found(refs: tuple[FrameRef, ...]) -> tuple[FrameRef, ...]:
        return tuple(replace(ref, path=place_now(ref.path, file.absolute().parent)) for ref in refs)

    turns = tuple(replace(turn, frames=found(turn.frames)) for turn in episode.turns)
    return replace(episode, prompt_frames=found(episode.prompt_frames), turns=turns)


@cache
def place_now(path: str, near: Path) -> str:
    """Where a film or picture is that was at `path`: there, or at as much of its path as is found from `near` or a
    folder above it, at least its name and its folder's; the path itself where it is nowhere."""
    there, mark, rate = path.partition("#")
    if Path(there).exists():
        return path
    parts = Path(there).parts
    for first in range(1, len(parts) - 1):
        for folder in (near, *near.parents[:-1]):
            if (now := folder.joinpath(*parts[first:])).exists():
                return f"{now}{mark}{rate}"
    return path
