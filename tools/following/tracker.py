"""Following a target through a video: what any tracker does, and one that needs no learned weights.

Invariant: what comes back says for every time that was looked at whether the target is in sight; a box is never carried
over a time at which it was not found.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np

from tools.decoding.frame import BusyError, DeadlineError
from tools.decoding.thread_safe_cache import ThreadSafeCache
from tools.decoding.video import Video
from tools.decoding.waiting import Deadline
from tools.following.appearance import Appearance
from tools.following.target import ROUGH, target_box, target_mask
from tools.marks.canvas import Box
from tools.marks.visual_prompt import VisualPrompt

TRACK_FPS = 6.0
"""Looks a second while following."""
MAX_PIXELS = 320 * 320
"""Size of the frames that are looked at."""
KEEP = 0.45
"""Least likeness, near where it was, that still is the target."""
FIND = 0.6
"""Least likeness anywhere in the frame that is the target again."""
KEPT_CALLS = 256
"""Calls whose looks are kept."""
REACH = 1.5
"""How far the target may move between two looks, in sizes of its own."""


@dataclass(frozen=True)
class Sighting:
    """One look."""

    time_s: float
    box: Box | None
    """x, y, width, height in pixels of the video; None if the target is not in sight."""
    likeness: float
    """0 to 1."""


@dataclass(frozen=True)
class Presence:
    """A stretch in which the target is in sight."""

    start_s: float
    end_s: float
    likeness: float
    """Mean of its looks."""


class Tracker(Protocol):
    """Follows the marked target through a video."""

    def follow(self, video: Video, prompt: VisualPrompt, times: Sequence[float], timeout_s: float) -> list[Sighting]:
        """One look at each time, which run away from the mark's, forwards or backwards.

        Raises:
            ToolError: nothing is marked on the marked image.
            VideoError: the video or the image cannot be read.
            DeadlineError: it took longer than `timeout_s`.
        """


class AppearanceTracker:
    """The tracker that needs no weights. What it saw is kept, since the rollouts of a task ask for much the same."""

    def follow(self, video: Video, prompt: VisualPrompt, times: Sequence[float], timeout_s: float) -> list[Sighting]:
        """See `Tracker`."""
        key = "follow", video.path, video.stamp, repr(prompt), tuple(times)
        if (known := _seen.get(key)) is None:
            target = _Target(video, prompt, timeout_s)
            known = _seen.keep(key, [target.native(sighting) for sighting in target.followed(times)])
        return list(known)

    def find(
        self, video: Video, prompt: VisualPrompt, times: Sequence[float], timeout_s: float, keyframes: bool = False
    ) -> list[Sighting]:
        """One look at each time, or at the last keyframe before it, anywhere in the frame, whatever was seen before.

        Returns:
            Looks in the order of the times; not at all of them where there was no time for more.

        Raises:
            As `follow`, but for a missed deadline after the first look.
        """
        key = "find", video.path, video.stamp, repr(prompt), tuple(times), keyframes
        if (known := _seen.get(key)) is not None:
            return list(known)
        target = _Target(video, prompt, timeout_s)
        looks: list[Sighting] = []
        try:
            for sighting in target.found(times, keyframes):
                looks.append(target.native(sighting))
        except BusyError:
            raise
        except DeadlineError:
            if not looks:
                raise
            return looks
        return list(_seen.keep(key, looks))


_seen: ThreadSafeCache[tuple[object, ...], list[Sighting]] = ThreadSafeCache(KEPT_CALLS)


class _Target:
    """The marked instance, in the coordinates of small frames."""

    def __init__(self, video: Video, prompt: VisualPrompt, timeout_s: float) -> None:
        self._video = video
        self._deadline = Deadline(timeout_s)
        [native] = video.frames_at([prompt.known_time_s], video.width * video.height, 1, timeout_s)
        box = target_box(prompt, native.pixels)
        [(_, small)] = self._frames([prompt.known_time_s])
        self._scale = sx, sy = video.width / small.shape[1], video.height / small.shape[0]
        box = box[0] / sx, box[1] / sy, box[2] / sx, box[3] / sy
        mask = target_mask(small, box, rough=prompt.kind in ROUGH)
        self._box = _bounds(mask, box)
        self._appearance = Appearance(small, self._box, mask)
        self._time_s = prompt.known_time_s

    def followed(self, times: Sequence[float]) -> Iterator[Sighting]:
        last, last_s, size = self._box, self._time_s, self._box[2:]
        for time_s, frame in self._frames(times):
            reach = REACH * max(size) * max(1.0, abs(time_s - last_s) * TRACK_FPS)
            found = self._appearance.best(frame, size, last, reach)
            if found.likeness < KEEP:
                found = self._appearance.best(frame, self._box[2:])
                if found.likeness < FIND:
                    yield Sighting(time_s, None, found.likeness)
                    continue
            last, last_s, size = found.box, time_s, _bounded(found.box[2:], self._box[2:])
            yield Sighting(time_s, found.box, found.likeness)

    def found(self, times: Sequence[float], keyframes: bool) -> Iterator[Sighting]:
        for time_s, frame in self._frames(times, keyframes):
            found = self._appearance.best(frame, self._box[2:])
            yield Sighting(time_s, found.box if found.likeness >= FIND else None, found.likeness)

    def native(self, sighting: Sighting) -> Sighting:
        """The sighting in pixels of the video."""
        if sighting.box is None:
            return sighting
        (sx, sy), (x, y, w, h) = self._scale, sighting.box
        return Sighting(sighting.time_s, (x * sx, y * sy, w * sx, h * sy), sighting.likeness)

    def _frames(self, times: Sequence[float], keyframes: bool = False) -> Iterator[tuple[float, np.ndarray]]:
        return self._video.scan(times, MAX_PIXELS, max(0.0, self._deadline.left_s), keyframes)


def presences(looks: Iterable[Sighting], gap_s: float) -> list[Presence]:
    """Stretches in sight; a gap of up to `gap_s` between two sightings does not end one. A stretch reaches from its
    first sighting to its last, so one that was seen once has no length."""
    seen = [look for look in looks if look.box is not None]
    ends = [i for i, (before, look) in enumerate(pairwise(seen), 1) if look.time_s - before.time_s > gap_s]
    groups = [seen[start:end] for start, end in pairwise([0, *ends, len(seen)]) if seen]
    return [
        Presence(group[0].time_s, group[-1].time_s, float(np.mean([look.likeness for look in group])))
        for group in groups
    ]


def _bounds(mask: np.ndarray, otherwise: Box) -> Box:
    """The box of a mask, unless there is too little of it."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return (float(x), float(y), float(w), float(h)) if w > 1 and h > 1 else otherwise


def _bounded(size: tuple[float, float], first: tuple[float, float]) -> tuple[float, float]:
    """The size, kept within half and double of the first: more is drift."""
    w, h = (min(max(now, then / 2), then * 2) for now, then in zip(size, first, strict=True))
    return w, h
