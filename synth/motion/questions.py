"""Questions about a bare video, made from the tracks that were measured in it, with no model at all.

Invariant: the answer follows from the tracks with room to spare (`synth.motion.measures`), and whatever else the
question names is the only thing of the video that can be meant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from storage.files import JsonObject
from synth.motion import measures
from synth.motion.colour_names import COLOURS
from synth.motion.track import Track
from synth.record import PLACE, Record, Target

SOURCE = "footage"
DIMENSIONS = {
    "direction": "OD",
    "enters": "RT",
    "leaves": "FT",
    "order": "AS",
    "place": "SR",
    "relation": "SR",
    "crossings": "GC",
    "duration": "GC",
    "colour": "OA",
}
"""V2P-Bench dimension of each kind."""
LEAST_QUALITY = 0.3
"""Tracks of a lower quality are not asked about; what others hide for a while has less than 1."""
LEAST_S = 1.5
"""Nor are shorter ones, seconds."""
MOST_COUNTED = 5
"""Most crossings that are asked for."""
COLOUR_SHARE = 0.85
"""Share of a thing that must have its colour's name for that to be asked."""
LONGER = 1.8
"""Factor from each choice of a duration to the next."""
DURATIONS = 4
"""Choices of a duration."""
FIRST_LOOK = ("order", "duration")
"""Kinds about the whole video: what the first look shows answers them."""
SHORTEST_CHOICE_S = 1.0
END_S = 4.0
"""Length of the window of a question on how a thing comes or goes, seconds."""
NEAR_S = 1.5
"""Length of the window before and after the moment that a question is about, seconds."""
MOMENTS = 6
"""Moments of a track that are tried for a question on where it is."""


@dataclass(frozen=True)
class _Draft:
    """A question with its answer. Times in seconds."""

    kind: str
    track: Track
    text: str
    """With `<vp>` for the thing."""
    answer: str
    start_s: float
    end_s: float
    options: tuple[str, ...] | None = None
    facts: JsonObject = field(default_factory=dict)


def questions_of(video: str, record_id: str, tracks: Sequence[Track], seed: int, most: int) -> list[Record]:
    """Up to `most` questions about a video, of as many kinds and things as there are; none where nothing moves plainly.

    Args:
        video: path of the video.
        record_id: id of the bare video's record; each question's is that and a number.
        tracks: all tracks of the video, `synth.motion.segmenter.measure_tracks(video)`.
        seed: with the video's name and the id it decides which questions are chosen.

    Returns:
        Records of the source `footage`, their target known and `facts["track"]` its id; the answers to open questions
        are among those that the question lists. Masks are left to a segmenter.
    """
    rng = np.random.default_rng([seed, *Path(video).name.encode(), *record_id.encode()])
    drafts = [draft for track in tracks if _is_plain(track) for draft in _drafts(track, tracks, rng)]
    chosen = _spread(drafts, most, rng)
    return [_record(draft, video, f"{record_id}-{i}", tracks) for i, draft in enumerate(chosen)]


def _is_plain(track: Track) -> bool:
    """Whether it may be asked about. What comes out of a blob of several things may be several things still."""
    enough = track.quality >= LEAST_QUALITY and track.end_s - track.start_s >= LEAST_S
    return enough and track.starts != "split" and measures.travels(track) and measures.steady(track)


def _drafts(track: Track, tracks: Sequence[Track], rng: np.random.Generator) -> Iterator[_Draft]:
    for start_s, end_s, way in measures.moves(track):
        when = f"between {start_s:.1f} s and {end_s:.1f} s"
        yield _Draft(
            "direction", track, f"Which way does {PLACE} move {when}: left, right, up or down?", way, start_s, end_s
        )
    start_s, end_s = measures.inner(track)
    for axis, line in enumerate(("vertical", "horizontal")):
        count = measures.crossings(track, axis)
        if count is not None and 1 <= count <= MOST_COUNTED:
            text = f"How many times does {PLACE} cross the {line} middle line of the picture"
            text = f"{text} between {start_s:.1f} s and {end_s:.1f} s? Answer with a number."
            yield _Draft("crossings", track, text, str(count), start_s, end_s, facts={"axis": axis})
    if track.colour and track.colour_share >= COLOUR_SHARE:
        text = f"What colour is {PLACE}: {', '.join(COLOURS[:-1])} or {COLOURS[-1]}?"
        yield _Draft("colour", track, text, track.colour, start_s, end_s)
    yield from _where(track, tracks, rng)
    # What is asked of its whole life would be wrong if it came back as another track.
    if not measures.kin(track, tracks):
        yield from _life(track, tracks, rng)


def _life(track: Track, tracks: Sequence[Track], rng: np.random.Generator) -> Iterator[_Draft]:
    """How it comes and goes, for how long it stays, and whether before or after others."""
    start_s, end_s = measures.inner(track)
    came, gone = (start_s, min(end_s, start_s + END_S)), (max(start_s, end_s - END_S), end_s)
    sides = "left, right, top or bottom?"
    if track.enters:
        text = f"From which side does {PLACE} come into the picture: {sides}"
        yield _Draft("enters", track, text, track.enters, *came)
    if track.leaves:
        text = f"Over which side does {PLACE} leave the picture: {sides}"
        yield _Draft("leaves", track, text, track.leaves, *gone)
    if track.enters and track.leaves and measures.longest_gap_s(track) <= measures.LONG_GAP_S:
        yield _duration(track, rng)
    for other in (other for other in tracks if other is not track and other.colour and not measures.kin(other, tracks)):
        for verb, moment, window in (("come into", "start_s", came), ("leave", "end_s", gone)):
            known = all(one.enters if verb != "leave" else one.leaves for one in (track, other))
            apart_s = getattr(track, moment) - getattr(other, moment)
            if known and abs(apart_s) >= measures.ORDER_S:
                text = f"Does {PLACE} {verb} the picture before or after the {other.colour} thing does?"
                facts = {"other": other.id, "event": "enters" if verb != "leave" else "leaves"}
                yield _Draft("order", track, text, "before" if apart_s < 0 else "after", *window, facts=facts)


def _duration(track: Track, rng: np.random.Generator) -> _Draft:
    lasts_s = track.end_s - track.start_s
    shorter = min(DURATIONS - 1, int(np.log(lasts_s / SHORTEST_CHOICE_S) / np.log(LONGER)))
    place = int(rng.integers(shorter + 1))
    choices = [lasts_s * LONGER ** (i - place) for i in range(DURATIONS)]
    options = tuple(f"about {round(choice * 2) / 2:g} s" for choice in choices)
    text = f"For how long is {PLACE} in the picture?"
    facts = {"lasts_s": lasts_s}
    return _Draft("duration", track, text, chr(ord("A") + place), *measures.inner(track), options=options, facts=facts)


def _where(track: Track, tracks: Sequence[Track], rng: np.random.Generator) -> Iterator[_Draft]:
    """Where it is at some moments, by itself and beside others."""
    low, high = measures.inner(track)
    named = [other for other in tracks if other is not track and other.colour and not measures.kin(other, tracks)]
    moments = np.arange(low, high + measures.ROUND_S / 2, measures.ROUND_S)
    for at_s in rng.permutation(moments)[:MOMENTS].tolist():
        window = max(low, at_s - NEAR_S), min(high, at_s + NEAR_S)
        for axis, (first, middle, last) in enumerate(measures.THIRDS):
            if third := measures.third_at(track, at_s, axis):
                text = f"In which third of the picture is {PLACE} at {at_s:.1f} s: {first}, {middle} or {last}?"
                yield _Draft("place", track, text, third, *window, facts={"at_s": at_s, "axis": axis})
            for other in named:
                if side := measures.side_at(track, other, at_s, axis):
                    choice = ("left or right of", "above or below")[axis]
                    text = f"At {at_s:.1f} s, is {PLACE} {choice} the {other.colour} thing?"
                    facts = {"at_s": at_s, "axis": axis, "other": other.id}
                    yield _Draft("relation", track, text, side, *window, facts=facts)


def _spread(drafts: Sequence[_Draft], most: int, rng: np.random.Generator) -> list[_Draft]:
    """By turns one of each kind, of a thing and with an answer that has been asked for least."""
    left = [drafts[i] for i in rng.permutation(len(drafts))]
    kinds = [str(kind) for kind in rng.permutation(list(DIMENSIONS))]
    chosen: list[_Draft] = []
    while left and len(chosen) < most:
        for kind in kinds:
            offered = [draft for draft in left if draft.kind == kind]
            if offered and len(chosen) < most:
                best = min(offered, key=lambda draft: _repeats(draft, chosen))
                chosen.append(best)
                left.remove(best)
    return chosen


def _repeats(draft: _Draft, chosen: Sequence[_Draft]) -> int:
    return sum((old.track is draft.track) + (old.kind == draft.kind and (old.answer == draft.answer)) for old in chosen)


def _record(draft: _Draft, video: str, record_id: str, tracks: Sequence[Track]) -> Record:
    name = f"the {draft.track.colour} thing" if draft.track.colour and draft.kind != "colour" else "the thing"
    # Where it was is not what it is: a question may speak of sides and times.
    target = Target(name, name, draft.start_s, draft.end_s, draft.text, draft.options)
    return Record(
        id=record_id,
        source=SOURCE,
        video=video,
        question=draft.text.replace(PLACE, _singled_out(name, draft.track, tracks)),
        answer=draft.answer,
        options=draft.options,
        dimension=DIMENSIONS[draft.kind],
        facts={"track": draft.track.id, "kind": draft.kind, **draft.facts},
        target=target,
    )


def _singled_out(name: str, track: Track, tracks: Sequence[Track]) -> str:
    """The name with words that make it fit this thing of the video only."""
    rivals = [other for other in tracks if other is not track] if name == "the thing" else measures.kin(track, tracks)
    if not rivals:
        return name
    if track.enters and all(other.enters not in ("", track.enters) for other in rivals):
        return f"{name} that comes in from the {track.enters}"
    i = int(np.argmax(track.boxes[:, 2] * track.boxes[:, 3] * track.whole))
    x, y = (track.centres[i] / track.size * 100).round().astype(int).tolist()
    return f"{name} whose middle is {x} % from the left and {y} % from the top at {track.times[i]:.1f} s"
