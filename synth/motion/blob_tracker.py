"""From the blobs of each look to things: which blob is which, and where nobody can tell.

Invariant: a thing is never given another one's blob in silence. Where several things are one blob they wait as a group,
and are told apart afterwards by how they look, clearly or not at all: then their tracks end, and new ones begin.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from synth.motion.blobs import Blob, covered, likeness, overlap, united
from synth.motion.thing import Thing
from synth.motion.track import End, Start

MISS_S = 0.7
"""Longest time for which a thing may not be found and still be the same one after, seconds."""
CLAIM = 0.3
"""Share of a thing, where it is expected, that a blob must cover for the thing to be part of the blob."""
DOUBT = 0.1
"""A choice of blobs is in doubt where another one fits nearly this well."""
SURE_ALIKE = 0.7
"""Least likeness of a thing before and after it was in a group."""
MARGIN = 0.1
"""How much likelier than any other the assignment of a group's things to its blobs must be, in mean likeness."""
SAME_AREA = 0.6
"""Least ratio of the areas of a thing before and after it was in a group."""
PIECES = 1.3
"""Most that the pieces of one thing may reach, in widths and heights of its own."""


@dataclass(eq=False)
class _Group:
    """Things that are one blob, or were a moment ago."""

    members: list[Thing]
    blobs: list[Blob]
    last_s: float

    def holds(self, blob: Blob) -> bool:
        return any(overlap(old, blob, grow=3) > 0.2 * min(old.area, blob.area) for old in self.blobs)


class BlobTracker:
    """Takes the looks one after the other; `finish` gives the things."""

    def __init__(self) -> None:
        self._alone: list[Thing] = []
        self._groups: list[_Group] = []
        self._ended: list[Thing] = []
        self._anew: list[Blob] = []
        """Blobs of this look that come out of things that could not be told apart."""
        self._last_s: float | None = None

    def step(self, time_s: float, blobs: Sequence[Blob], frame: np.ndarray) -> None:
        """The blobs of the next look, and its frame, [H, W, 3] uint8 RGB."""
        first, self._last_s, self._anew = self._last_s is None, time_s, []
        blobs = self._whole(time_s, list(blobs), frame)
        chosen = self._chosen(time_s, blobs)
        taken = {*chosen.values(), *self._anew}
        free = [blob for blob in blobs if blob not in taken]
        free = self._follow_groups(time_s, blobs, free, chosen)
        free = self._merge(time_s, blobs, free, chosen)
        for thing, blob in chosen.items():
            if thing.outgrown(blob) or self._torn(thing, blob, free):
                self._end(thing, "merged")
                self._anew.append(blob)
            else:
                thing.add(time_s, blob)
        for thing in [thing for thing in self._alone if time_s - thing.last_s > MISS_S]:
            self._end(thing, "border" if thing.last.touches else "inside")
        for blob in free:
            torn = any(overlap(other, blob, grow=8) for other in self._anew)
            starts: Start = "film" if first else "split" if torn else "border" if blob.touches else "inside"
            self._alone.append(Thing(starts, [(time_s, blob)], blob.look))
        self._alone += [Thing("split", [(time_s, blob)], blob.look) for blob in self._anew]

    def finish(self) -> list[Thing]:
        """Every thing there was, in the order of their first looks."""
        for group in self._groups:
            self._ended += [_ended(thing, "merged") for thing in group.members]
        for thing in self._alone:
            gone = thing.last.touches and self._last_s is not None and self._last_s > thing.last_s
            self._ended.append(_ended(thing, "border" if gone else "film"))
        self._alone, self._groups = [], []
        return sorted(self._ended, key=lambda thing: (thing.blobs[0][0], thing.blobs[0][1].box))

    def _whole(self, time_s: float, blobs: list[Blob], frame: np.ndarray) -> list[Blob]:
        """The blobs, the pieces of one thing put together: what lies before a thing may cut it in two."""
        for thing in self._alone:
            box = thing.expected(time_s)
            wide = np.array([box[0] - 0.1 * box[2], box[1] - 0.1 * box[3], 1.2 * box[2], 1.2 * box[3]])
            pieces = [blob for blob in blobs if covered(wide, blob) >= 0.8 * blob.area]
            others = [other.expected(time_s) for other in self._alone if other is not thing]
            if len(pieces) < 2 or any(covered(other, piece) for other in others for piece in pieces):
                continue
            if any(group.holds(piece) for group in self._groups for piece in pieces):
                continue
            whole = united(pieces, frame)
            if all(whole.box[i] <= PIECES * thing.last.box[i] for i in (2, 3)):
                blobs = [blob for blob in blobs if blob not in pieces] + [whole]
        return blobs

    def _chosen(self, time_s: float, blobs: list[Blob]) -> dict[Thing, Blob]:
        """Which blob each thing is, the best fits first; things whose choice is in doubt end."""
        fits = {(a, b): fit for a in self._alone for b in blobs if (fit := a.fits(b, time_s)) is not None}
        chosen: dict[Thing, Blob] = {}
        taken: dict[Blob, Thing] = {}
        for thing, blob in sorted(fits, key=lambda pair: -fits[pair]):
            if thing not in chosen and blob not in taken:
                chosen[thing], taken[blob] = blob, thing
        doubtful: set[Thing] = set()
        for (thing, blob), fit in fits.items():
            if thing not in chosen or chosen[thing] is blob:
                continue
            rival = taken.get(blob)
            now, instead = fits[thing, chosen[thing]], fit
            if rival is not None:
                if (rival, chosen[thing]) not in fits:
                    continue
                now, instead = now + fits[rival, blob], instead + fits[rival, chosen[thing]]
            if instead > now - DOUBT:
                doubtful |= {thing} if rival is None else {thing, rival}
        for thing in [thing for thing in chosen if _elsewhere(thing, chosen[thing], blobs, time_s)]:
            del chosen[thing]
        for thing in [thing for thing in chosen if thing in doubtful]:
            self._anew.append(chosen.pop(thing))
            self._end(thing, "merged")
        return chosen

    def _follow_groups(
        self, time_s: float, blobs: list[Blob], free: list[Blob], chosen: dict[Thing, Blob]
    ) -> list[Blob]:
        """Each group's blobs of this look; groups that have come apart end. Returns the blobs that are still free."""
        for group in list(self._groups):
            held = [blob for blob in blobs if group.holds(blob)]
            owners = {blob: thing for thing, blob in chosen.items()}
            strangers = [blob for blob in held if blob not in free]
            if len(held) > len(strangers):
                strangers = [blob for blob in strangers if not _surely(owners.get(blob), blob)]
            held = [blob for blob in held if blob in free or blob in strangers]
            for blob in strangers:
                if (thing := owners.get(blob)) is not None:
                    del chosen[thing]
                    self._alone.remove(thing)
                    group.members.append(thing)
            free = [blob for blob in free if blob not in held]
            if held:
                group.blobs, group.last_s = held, time_s
                self._resolve(group, time_s)
            elif time_s - group.last_s > MISS_S:
                self._groups.remove(group)
                self._ended += [_ended(thing, "merged") for thing in group.members]
        return free

    def _resolve(self, group: _Group, time_s: float) -> None:
        """End a group of which every thing is seen by itself again."""
        things, blobs = group.members, group.blobs
        if len(things) != len(blobs):
            return
        alike = np.array([[likeness(thing.look, blob.look) for blob in blobs] for thing in things])
        order, best, margin = _assignment(alike)
        clear = margin >= MARGIN
        pairs = [(thing, blobs[j]) for thing, j in zip(things, order, strict=True)]
        if clear and any(_area_ratio(thing, blob) < SAME_AREA for thing, blob in pairs):
            return
        self._groups.remove(group)
        if clear and best.min() >= SURE_ALIKE:
            for thing, blob in pairs:
                thing.add(time_s, blob)
                self._alone.append(thing)
            return
        self._ended += [_ended(thing, "merged") for thing in things]
        self._anew += blobs

    def _merge(self, time_s: float, blobs: list[Blob], free: list[Blob], chosen: dict[Thing, Blob]) -> list[Blob]:
        """Make groups of things that have become one blob. Returns the blobs that are still free."""
        for thing in [thing for thing in self._alone if thing not in chosen and thing.last_s < time_s]:
            box = thing.expected(time_s)
            blob = max(blobs, key=lambda blob: covered(box, blob), default=None)
            if blob is None or not _covers(thing, blob, time_s):
                continue
            owner = next((other for other, taken in chosen.items() if taken is blob), None)
            group = next((group for group in self._groups if blob in group.blobs), None)
            others = [a for a in self._alone if a is not thing and a not in chosen and _covers(a, blob, time_s)]
            if group is None and owner is None and not others:
                if len(thing.blobs) == 1 and thing.last.touches and blob.touches:
                    # The first sliver of what comes in has no colour yet: it is seen now as if for the first time.
                    self._alone.remove(thing)
                    continue
                if blob in free:
                    free.remove(blob)
                    self._anew.append(blob)
                self._end(thing, "merged")
                continue
            if group is None:
                group = _Group([], [blob], time_s)
                self._groups.append(group)
                if owner is not None:
                    del chosen[owner]
                    self._alone.remove(owner)
                    group.members.append(owner)
            self._alone.remove(thing)
            group.members.append(thing)
            free = [other for other in free if other is not blob]
        return free

    def _torn(self, thing: Thing, blob: Blob, free: list[Blob]) -> bool:
        """Whether a good part of the thing is another blob now."""
        lost = [other for other in free if overlap(thing.last, other) > 0.5 * other.area]
        return blob.area < 0.8 * thing.last.area and any(other.area > 0.25 * thing.last.area for other in lost)

    def _end(self, thing: Thing, ends: End) -> None:
        self._alone.remove(thing)
        self._ended.append(_ended(thing, ends))


def _assignment(alike: np.ndarray) -> tuple[list[int], np.ndarray, float]:
    """The likeliest blob of each thing, given how alike they are, [n, n] 0 to 1; how alike those are, [n]; and how much
    more, in the mean, than in the next best assignment: 0 where there is no other."""
    rows, order = linear_sum_assignment(alike, maximize=True)
    best, next_best = alike[rows, order], -1.0
    for pair in zip(rows, order, strict=True):
        without = alike.copy()
        without[pair] = -len(alike)
        next_best = max(next_best, float(without[linear_sum_assignment(without, maximize=True)].mean()))
    return order.tolist(), best, float(best.mean()) - next_best if len(alike) > 1 else 0.0


def _ended(thing: Thing, ends: End) -> Thing:
    thing.ends = ends
    return thing


def _surely(thing: Thing | None, blob: Blob) -> bool:
    return thing is not None and likeness(thing.look, blob.look) > 0.8 and _area_ratio(thing, blob) > 0.7


def _covers(thing: Thing, blob: Blob, time_s: float) -> bool:
    return covered(thing.expected(time_s), blob) >= CLAIM * min(thing.last.area, blob.area)


def _elsewhere(thing: Thing, blob: Blob, blobs: Sequence[Blob], time_s: float) -> bool:
    """Whether the place where a thing is expected is another blob's, so that it is rather hidden in that."""
    there = [other for other in blobs if other is not blob and _covers(thing, other, time_s)]
    return bool(there) and not _covers(thing, blob, time_s)


def _area_ratio(thing: Thing, blob: Blob) -> float:
    """Ratio of a blob's area to that of the thing when last seen, or the other way round, at most 1."""
    return min(blob.area, thing.last.area) / max(blob.area, thing.last.area)
