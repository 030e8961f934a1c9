"""What a fixed camera's film is made of: its still background, and the things that move before it, cut out.

Invariant: a cut-out shows one thing through one stretch without a gap, as it was at every look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from storage.files import whole_file
from synth.footage import TIMEOUT_S
from synth.motion import measures
from synth.motion.background import DARK, Background
from synth.motion.segmenter import MAX_PIXELS, SAMPLES
from synth.motion.track import Track
from tools.decoding.video import open_video
from tools.marks.rle import decode

LEAST_S = 1.5
"""Shortest cut-out, seconds."""
MOST_LOOKS, MOST_THINGS = 600, 12
"""Most looks of a cut-out, and cut-outs of a film, the longest first: all that is cut out of a film is in memory."""


@dataclass(frozen=True, eq=False)
class CutOut:
    """One thing. L looks, evenly spaced."""

    boxes: np.ndarray
    """[L, 4] int: x, y, width, height, pixels of the frames looked at."""
    pictures: tuple[np.ndarray, ...]
    """[height, width, 4] uint8 of each box: RGB, and 255 where the thing is."""
    from_start: bool
    """It was there when its film began."""
    to_end: bool
    """It was there when its film ended."""
    colour: str
    """Its track's."""


@dataclass(frozen=True, eq=False)
class FilmParts:
    """Of one film."""

    background: np.ndarray
    """[height, width, 3] uint8 RGB, of the size of the frames looked at."""
    noise: float
    """Standard deviation of a pixel that shows the background, levels of 255."""
    step_s: float
    """Seconds from look to look."""
    light: np.ndarray
    """[looks through the film] float: how bright the picture is beside the background."""
    things: tuple[CutOut, ...]

    def save(self, path: Path) -> None:
        """Write them, whole or not at all."""
        arrays: dict[str, Any] = {
            "background": self.background,
            "figures": np.array([self.noise, self.step_s]),
            "light": self.light,
        }
        for i, thing in enumerate(self.things):
            arrays[f"{i}.boxes"] = thing.boxes
            arrays[f"{i}.pixels"] = np.concatenate([picture.reshape(-1, 4) for picture in thing.pictures])
            arrays[f"{i}.ends"] = np.array([thing.from_start, thing.to_end])
            arrays[f"{i}.colour"] = np.array(thing.colour)
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "FilmParts":
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            noise, step_s = arrays["figures"].tolist()
            count = sum(name.endswith(".boxes") for name in arrays.files)
            things = tuple(
                CutOut(
                    boxes=arrays[f"{i}.boxes"],
                    pictures=_unpacked(arrays[f"{i}.pixels"], arrays[f"{i}.boxes"]),
                    from_start=bool(arrays[f"{i}.ends"][0]),
                    to_end=bool(arrays[f"{i}.ends"][1]),
                    colour=str(arrays[f"{i}.colour"]),
                )
                for i in range(count)
            )
            return cls(arrays["background"], noise, step_s, arrays["light"], things)


def _unpacked(pixels: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    ends = np.cumsum(boxes[:, 2] * boxes[:, 3])
    parts = np.split(pixels, ends[:-1])
    return tuple(part.reshape(height, width, 4) for part, (_, _, width, height) in zip(parts, boxes, strict=True))


def cut_apart(path: str, tracks: Sequence[Track], timeout_s: float = TIMEOUT_S) -> FilmParts | None:
    """The parts of a film of which the tracks are known; None where it has none.

    Raises:
        VideoError: it cannot be read in time.
    """
    if not tracks:
        return None
    video = open_video(path, timeout_s)
    spread = video.times[np.unique(np.linspace(0, len(video.times) - 1, SAMPLES).round().astype(int))]
    seen = list(video.scan(spread.tolist(), MAX_PIXELS, timeout_s))
    still = Background([frame for _, frame in seen]).picture
    bright = [float(np.median((frame + DARK) / (still + DARK))) for _, frame in seen]
    noise = float(np.median([_noise(frame / light - still) for (_, frame), light in zip(seen, bright, strict=True)]))
    whole = [stretch for track in tracks if _is_one(track) and (stretch := _without_gap(track)) is not None]
    whole = sorted(sorted(whole, key=lambda one: -len(one[1]))[:MOST_THINGS], key=lambda one: one[0].id)
    times = sorted({float(track.times[i]) for track, looks in whole for i in looks})
    things = [_Cutting(track, looks) for track, looks in whole]
    for time_s, frame in video.scan(times, MAX_PIXELS, timeout_s):
        for thing in things:
            thing.see(time_s, frame)
    step_s = tracks[0].step_s
    looks = max(1, round((float(video.times[-1]) - float(video.times[0])) / step_s))
    light = np.interp(video.times[0] + step_s * np.arange(looks), spread, bright)
    background = still.round().clip(0, 255).astype(np.uint8)
    return FilmParts(background, noise, step_s, light, tuple(thing.cut_out() for thing in things))


def _noise(difference: np.ndarray) -> float:
    """Standard deviation of what changes from pixel to pixel."""
    fine = difference - cv2.GaussianBlur(difference, (5, 5), 0)
    return float(1.4826 * np.median(np.abs(fine)))


def _is_one(track: Track) -> bool:
    """Whether it is one thing that moves, for sure."""
    return track.starts != "split" and measures.travels(track) and measures.steady(track)


def _without_gap(track: Track) -> tuple[Track, range] | None:
    """The longest stretch of a track with a look at every step; None if that is short."""
    gaps = np.flatnonzero(np.diff(track.times) > 1.5 * track.step_s) + 1
    edges = [0, *gaps.tolist(), len(track.times)]
    start, end = max(pairwise(edges), key=lambda part: part[1] - part[0])
    end = min(end, start + MOST_LOOKS)
    return (track, range(start, end)) if (end - start) * track.step_s >= LEAST_S else None


class _Cutting:
    """A thing that is cut out of a film's frames as they come, by rising time."""

    def __init__(self, track: Track, looks: range) -> None:
        self._track, self._looks = track, looks
        self._boxes: list[tuple[int, int, int, int]] = []
        self._pictures: list[np.ndarray] = []

    def see(self, time_s: float, frame: np.ndarray) -> None:
        at = len(self._boxes)
        if at == len(self._looks) or abs(self._track.times[self._looks[at]] - time_s) > 1e-6:
            return
        mask = decode(self._track.masks[self._looks[at]])
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        inside = slice(y, y + height), slice(x, x + width)
        self._boxes.append((x, y, width, height))
        self._pictures.append(np.dstack([frame[inside], mask[inside].astype(np.uint8) * 255]))

    def cut_out(self) -> CutOut:
        track = self._track
        from_start = track.starts == "film" and self._looks.start == 0
        to_end = track.ends == "film" and self._looks.stop == len(track.times)
        return CutOut(np.array(self._boxes), tuple(self._pictures), from_start, to_end, track.colour)
