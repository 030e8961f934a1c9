"""What a track proves: facts whose measurement is far from where they would turn into other facts.

Invariant: nothing is said that a small error of a box, or of the clock, could change; how small, the constants of this
file say.
"""

from collections.abc import Sequence

import numpy as np

from synth.motion.blobs import likeness
from synth.motion.track import Track

ROUND_S = 0.5
"""Times that the question of a marked thing tells are multiples of this, seconds; so are the lengths of stretches."""
AROUND_S = 0.3
"""What is said of a moment must hold for so long before and after it, seconds."""
FAR_SIZES, FAR_SHARE = 1.5, 0.15
"""Least way of a thing that moves in a direction: in its own sizes along it, and as a share of the picture's side."""
AXIS_DEGREES = 25.0
"""Farthest that a direction may be off an axis."""
ASTRAY = 0.2
"""Most that it may stray aside, or go back, as a share of its way."""
MOVE_S = (4.0, 2.5, 1.5)
"""Lengths of the stretches that are tried for a direction, seconds, longest first."""
INSIDE = 0.7
"""Share of a thing, about its middle, that must lie in a third of the picture for it to be there."""
LINE_SHARE, LINE_SIZES = 0.08, 0.6
"""How far beyond a line a thing must get to have crossed it: as a share of the picture's side, and in its own sizes."""
APART = 0.05
"""Least gap between two things of which one is left of or above the other, as a share of the picture's side."""
LONG_GAP_S = 1.0
"""A longer time without a look leaves open what happened in it, seconds."""
ORDER_S = 1.0
"""Least time between two events of which one comes first, seconds."""
KIN = 0.6
"""Two tracks that look this much alike may be one thing that came back."""
UNNAMED_KIN = 0.35
"""The same, where one of them has no colour's name: it may be several things that stayed together."""
STEADY, STEADY_SHARE, STEADY_S = 1.25, 0.92, 1.0
"""A thing's box is within this factor of its usual area, in this share of its looks; usual is what it is within so many
seconds before and after."""
THIRDS = (("left", "middle", "right"), ("top", "middle", "bottom"))
"""The thirds of the picture along x and y."""
DIRECTIONS = (("left", "right"), ("up", "down"))


def kin(track: Track, tracks: Sequence[Track]) -> list[Track]:
    """Other tracks of the video that may be the same thing, or look like it."""
    return [other for other in tracks if other is not track and _akin(track, other)]


def _akin(a: Track, b: Track) -> bool:
    alike = likeness(a.look, b.look)
    if a.colour and b.colour:
        return a.colour == b.colour or alike > KIN
    return alike > UNNAMED_KIN


def travels(track: Track) -> bool:
    """Whether it goes farther than its own size, so that it is no shadow of the background."""
    way = np.ptp(track.centres[track.whole], axis=0) if track.whole.any() else np.zeros(2)
    return bool((way > np.median(track.boxes[:, 2:], axis=0)).any())


def steady(track: Track) -> bool:
    """Whether its size hardly changes from second to second: several things that stay together change theirs."""
    areas = np.prod(track.boxes[track.whole, 2:], axis=1)
    times = track.times[track.whole]
    usual = [float(np.median(areas[np.abs(times - time_s) <= STEADY_S])) for time_s in times]
    return bool(len(areas)) and bool((np.abs(np.log(areas / usual)) <= np.log(STEADY)).mean() >= STEADY_SHARE)


def longest_gap_s(track: Track) -> float:
    """Longest time between two of its looks, seconds."""
    return float(np.diff(track.times).max(initial=0.0))


def inner(track: Track) -> tuple[float, float]:
    """The track's time, seconds, rounded inwards to multiples of `ROUND_S`."""
    first, last = np.ceil(track.start_s / ROUND_S - 1e-6), np.floor(track.end_s / ROUND_S + 1e-6)
    return float(first * ROUND_S) + 0.0, float(last * ROUND_S)  # not -0.0


def moves(track: Track) -> list[tuple[float, float, str]]:
    """Stretches in which it moves one way, start and end in seconds and the word for it; no two overlap."""
    found: list[tuple[float, float, str]] = []
    low, high = inner(track)
    for length_s in MOVE_S:
        for start_s in np.arange(low, high - length_s + ROUND_S / 2, ROUND_S).tolist():
            end_s = round(start_s + length_s, 1)
            free = all(end_s <= a or b <= start_s for a, b, _ in found)
            if free and (word := _direction(track, start_s, end_s)):
                found.append((start_s, end_s, word))
    return sorted(found)


def _direction(track: Track, start_s: float, end_s: float) -> str:
    inside = (track.times >= start_s) & (track.times <= end_s)
    if not _dense(track.times[inside], start_s, end_s, track.step_s) or not track.whole[inside].all():
        return ""
    way = track.centres[inside] - track.centres[inside][0]
    axis = int(np.argmax(np.abs(way[-1])))
    along, aside = way[:, axis] * np.sign(way[-1, axis]), way[:, 1 - axis]
    far = along[-1]
    least = max(FAR_SIZES * float(np.median(track.boxes[inside, 2 + axis])), FAR_SHARE * track.size[axis])
    straight = np.abs(aside - aside[-1] * along / max(far, 1e-9)).max() <= ASTRAY * far
    onward = (np.maximum.accumulate(along) - along).max() <= ASTRAY * far
    on_axis = abs(aside[-1]) <= np.tan(np.radians(AXIS_DEGREES)) * far
    if far < least or not (straight and onward and on_axis):
        return ""
    return DIRECTIONS[axis][int(way[-1, axis] > 0)]


def third_at(track: Track, time_s: float, axis: int) -> str:
    """The third of the picture, along x (0) or y (1), that it is in; empty where that is not plain."""
    boxes = boxes_at(track, time_s)
    if boxes is None:
        return ""
    trim = (1 - INSIDE) / 2 * boxes[:, 2 + axis]
    low = (boxes[:, axis] + trim) / track.size[axis] * 3
    high = (boxes[:, axis] + boxes[:, 2 + axis] - trim) / track.size[axis] * 3
    third = int(np.clip(low[0], 0, 2))
    return THIRDS[axis][third] if (low >= third).all() and (high <= third + 1).all() else ""


def side_at(track: Track, other: Track, time_s: float, axis: int) -> str:
    """On which side of the other it is, along x (0) or y (1): left or right, above or below; empty where not plain."""
    here, there = boxes_at(track, time_s), boxes_at(other, time_s)
    if here is None or there is None:
        return ""
    gap = APART * track.size[axis]
    before = (here[:, axis] + here[:, 2 + axis]).max() + gap <= there[:, axis].min()
    after = (there[:, axis] + there[:, 2 + axis]).max() + gap <= here[:, axis].min()
    words = (("left", "right"), ("above", "below"))[axis]
    return words[int(after)] if before or after else ""


def boxes_at(track: Track, time_s: float) -> np.ndarray | None:
    """[looks, 4]: its boxes around a moment; None where it was not whole and in sight all the while."""
    near = np.abs(track.times - time_s) <= AROUND_S + track.step_s
    if not _dense(track.times[near], time_s - AROUND_S, time_s + AROUND_S, track.step_s) or not track.whole[near].all():
        return None
    return track.boxes[near]


def crossings(track: Track, axis: int) -> int | None:
    """How often it crosses the middle line of the picture, across x (0) or y (1), in its time; None where not plain."""
    size, line = track.size[axis], track.size[axis] / 2
    off = track.centres[:, axis] - line
    beyond = np.maximum(LINE_SHARE * size, LINE_SIZES * track.boxes[:, 2 + axis])
    sides = np.where(np.abs(off) < beyond, 0, np.sign(off)).astype(int)
    speed = _top_speed(track, axis)
    if sides[0] == 0 or sides[-1] == 0 or speed * ROUND_S > min(abs(off[0]), abs(off[-1])):
        return None
    beside = np.flatnonzero(sides)
    crossed = np.diff(sides[beside]) != 0
    turned_back = ~crossed & (np.diff(beside) > 1)
    gaps_s, room = np.diff(track.times), np.abs(off[:-1]) + np.abs(off[1:])
    hidden = np.where(off[:-1] * off[1:] < 0, 4 * LINE_SHARE * size, 0.0)
    lost = (gaps_s > 2.5 * track.step_s) & ((gaps_s > LONG_GAP_S) | (speed * gaps_s > room + hidden))
    return None if turned_back.any() or lost.any() else int(crossed.sum())


def _top_speed(track: Track, axis: int) -> float:
    """Pixels a second that it hardly ever goes beyond."""
    speeds = np.abs(np.diff(track.centres[:, axis])) / np.diff(track.times)
    return 1.5 * float(np.percentile(speeds, 90)) if len(speeds) else 0.0


def _dense(times: np.ndarray, start_s: float, end_s: float, step_s: float) -> bool:
    """Whether the looks fill a stretch."""
    if len(times) < 2 or times[0] > start_s + 1.5 * step_s or times[-1] < end_s - 1.5 * step_s:
        return False
    return bool(np.diff(times).max() <= 2.5 * step_s)
