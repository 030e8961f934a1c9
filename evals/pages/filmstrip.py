"""An episode as a film strip: what the page shows of it, with every frame embedded.

Invariant: a picture is the frame that the policy saw, read again by its reference, under its true time. A frame that
cannot be read again is shown as missing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from env.looks import Sought
from env.trajectory import Trajectory
from env.turn_views import FrameView, TurnView, marked_frame, turn_views
from evals.score import accuracy_of
from pages.rendering import data_uri
from tools.decoding.video import VideoError, open_video, read_frame

FIRST_LOOK = 16
"""Most frames shown of the first look."""
EMBEDDED_PX = 360
"""Longest side of an embedded frame."""
LOSSLESS_PIXELS = 160 * 160
"""Frames up to this many pixels are embedded as they are (PNG); larger ones as JPEG."""


@dataclass(frozen=True)
class Picture:
    """One frame of a strip."""

    source: str
    """Data URI; empty if the frame cannot be read again."""
    caption: str
    """Its time."""
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Timeline:
    """Where in the video the policy looked."""

    start_s: float
    end_s: float
    mark: float | None
    """Percent of the length; None if it never saw the mark."""
    first_look: tuple[float, ...]
    looks: tuple[tuple[float, float], ...]
    """Start and width of each stretch that it looked at closer, in order, percent of the length."""
    evidence: tuple[tuple[float, float], ...]
    """The same of each stretch that had to be seen, as far as that is known."""
    alt: str


@dataclass(frozen=True)
class Film:
    """One whole episode."""

    trajectory: Trajectory
    accuracy: float
    mark: Picture | None
    first_look: tuple[Picture, ...]
    first_look_frames: int
    """Frames of the first look, of which `first_look` may show fewer."""
    turns: tuple[tuple[TurnView, tuple[Picture, ...]], ...]
    """Each with the frames that came back."""
    timeline: Timeline | None


def film(trajectory: Trajectory) -> Film:
    """The film strip of an episode."""
    turns = turn_views(trajectory)
    mark = marked_frame(trajectory)
    first_look = [FrameView(ref, ref.time_s) for ref in trajectory.prompt_frames if ref.time_s is not None]
    return Film(
        trajectory=trajectory,
        accuracy=accuracy_of(trajectory),
        mark=picture(mark, "The marked frame") if mark else None,
        first_look=tuple(picture(frame, "First look") for frame in spread(first_look, FIRST_LOOK)),
        first_look_frames=len(first_look),
        turns=tuple(
            (turn, tuple(picture(frame, f"Returned in turn {i}") for frame in turn.frames))
            for i, turn in enumerate(turns, 1)
        ),
        timeline=_timeline(first_look, mark, turns, trajectory.evidence),
    )


def choose(episodes: Sequence[Trajectory]) -> list[Trajectory]:
    """Two episodes worth reading: a right one and a wrong one, each with the most tools in the fewest calls, if
    possible one that looked on after it had missed. Two or fewer are all shown, and where all are right (or all wrong)
    two of those."""
    if len(episodes) <= 2:
        return list(episodes)

    def dull(episode: Trajectory) -> tuple[int, bool, int]:
        sought = Sought.of(episode)
        searched = sought is not None and bool(sought.again_after_miss) and sought.found
        return -len({call.name for call in episode.calls if call.ok}), not searched, len(episode.calls)

    telling = sorted(episodes, key=dull)
    right = [episode for episode in telling if accuracy_of(episode) == 1]
    wrong = [episode for episode in telling if accuracy_of(episode) < 1]
    return [*right[:1], *wrong[:1]] if right and wrong else (right or wrong)[:2]


def spread(frames: Sequence[FrameView], most: int) -> list[FrameView]:
    """At most `most` of the frames, evenly spread, the first and the last among them."""
    if len(frames) <= most:
        return list(frames)
    return [frames[i] for i in np.linspace(0, len(frames) - 1, most).round().astype(int)]


def errors_shown_by_calls(turn: TurnView) -> bool:
    """True where the observation only repeats the error of a call, which is shown beside the call."""
    errors = [call.record.error for call in turn.calls if call.record and call.record.error]
    return not turn.frames and any(error in turn.observation for error in errors)


def picture(frame: FrameView, what: str) -> Picture:
    """An embedded frame; `what` begins its alternative text."""
    caption = "time unknown" if frame.time_s is None else f"{frame.time_s:.{1 if frame.ref.time_s is None else 2}f} s"
    try:
        source = data_uri(read_frame(frame.ref), EMBEDDED_PX, frame.ref.width * frame.ref.height <= LOSSLESS_PIXELS)
    except VideoError:
        return Picture("", caption, f"{what}, {caption}: the file cannot be read", frame.ref.width, frame.ref.height)
    return Picture(source, caption, f"{what}, {caption}", frame.ref.width, frame.ref.height)


def _timeline(
    first_look: Sequence[FrameView],
    mark: FrameView | None,
    turns: Sequence[TurnView],
    evidence: Sequence[tuple[float, float]],
) -> Timeline | None:
    seen = [frame.ref.time_s for frame in first_look if frame.ref.time_s is not None]
    stretches = [times for turn in turns if (times := [f.ref.time_s for f in turn.frames if f.ref.time_s is not None])]
    mark_s = mark.time_s if mark else None
    every = [*seen, *(time_s for times in stretches for time_s in times), *([] if mark_s is None else [mark_s])]
    if not every:
        return None
    start_s, end_s = _extent([*first_look, *(frame for turn in turns for frame in turn.frames)])
    start_s, end_s = min(start_s, *every), max(end_s, *every)
    percent = 100 / ((end_s - start_s) or 1.0)
    labels = [f"{min(times):.1f} to {max(times):.1f} s" for times in stretches]
    alt = f"Timeline of the video, {start_s:.1f} to {end_s:.1f} s; {len(seen)} frames at first look"
    alt += f"; mark at {mark_s:.1f} s" if mark_s is not None else "; the mark was never looked at"
    alt += f"; closer looks: {', '.join(labels)}" if labels else "; no closer look"
    needed = [f"{start:.1f} to {end:.1f} s" for start, end in evidence]
    alt += f"; what is asked for: {', '.join(needed)}" if needed else ""
    return Timeline(
        start_s=start_s,
        end_s=end_s,
        mark=None if mark_s is None else (mark_s - start_s) * percent,
        first_look=tuple((time_s - start_s) * percent for time_s in seen),
        looks=tuple(((min(times) - start_s) * percent, (max(times) - min(times)) * percent) for times in stretches),
        evidence=tuple(((start - start_s) * percent, (end - start) * percent) for start, end in evidence),
        alt=alt,
    )


def _extent(frames: Sequence[FrameView]) -> tuple[float, float]:
    """When the video starts and ends; nowhere if it cannot be read."""
    path = next((frame.ref.path for frame in frames if frame.ref.time_s is not None), None)
    try:
        video = open_video(path) if path else None
    except VideoError:
        video = None
    return (float(video.times[0]), video.duration_s) if video else (math.inf, -math.inf)
