"""The tool that follows the marked target."""

import time
from typing import Annotated

import numpy as np

from tools.base import Limits, Mark, Scene, ToolError
from tools.frame import Content, DeadlineError
from tools.handles import FRAME, VIDEO, Stretch, mark_of, stretch_of, video_of
from tools.tracker import TRACK_FPS, AppearanceTracker, Sighting, Tracker, presences
from tools.video import Video
from tools.zoom_region import in_thousandths

GAP_S = 2.0 / TRACK_FPS
"""Longest loss that does not count as having left, seconds."""


def track_instance(
    scene: Scene,
    limits: Limits,
    start_time: Annotated[float, "Start of the stretch, in seconds."],
    end_time: Annotated[float, "End of the stretch, in seconds; greater than start_time."],
    frame: Annotated[str, "Handle of the marked frame."] = FRAME,
) -> Content:
    """Follow the marked target. Gives when it is in sight between start_time and end_time, and its box each second
    as [left, top, right, bottom] in thousandths of the frame's width and height."""
    mark = mark_of(scene, frame)
    video = video_of(scene, VIDEO, limits)
    stretch = stretch_of(video, start_time, end_time)
    if stretch.end_s - stretch.start_s > limits.track_max_s:
        raise ToolError(f"a call follows the target for at most {limits.track_max_s:g} s; ask for a shorter stretch")
    try:
        looks = _looks(scene.tracker or AppearanceTracker(), video, mark, stretch, limits.timeout_s)
    except DeadlineError:
        raise ToolError(f"following took longer than {limits.timeout_s:g} s; ask for a shorter stretch") from None
    return (f"{_presence(looks, stretch)}{_boxes(looks, video)}",)


def _looks(tracker: Tracker, video: Video, mark: Mark, stretch: Stretch, timeout_s: float) -> list[Sighting]:
    """Looks at the stretch, in order of time, made backwards and forwards from the mark."""
    deadline = time.monotonic() + timeout_s
    count = max(1, round((stretch.end_s - stretch.start_s) * TRACK_FPS))
    times = stretch.start_s + (np.arange(count) + 0.5) * (stretch.end_s - stretch.start_s) / count
    looks: list[Sighting] = []
    for part in (times[times < mark.time_s][::-1], times[times >= mark.time_s]):
        if len(part):
            looks += tracker.follow(video, mark, part.tolist(), max(0.0, deadline - time.monotonic()))
    inside = [look for look in looks if stretch.start_s <= look.time_s <= stretch.end_s]
    return sorted(inside, key=lambda look: look.time_s)


def _presence(looks: list[Sighting], stretch: Stretch) -> str:
    seen = presences(looks, GAP_S)
    if not seen:
        return f"the target is not in sight {stretch}"
    parts = ", ".join(f"{part.start_s:.1f} s to {part.end_s:.1f} s" for part in seen)
    return f"the target {stretch} is in sight: {parts}"


def _boxes(looks: list[Sighting], video: Video) -> str:
    """The box nearest to the middle of each second."""
    lines = []
    for second in sorted({int(look.time_s) for look in looks}):
        here = [look for look in looks if int(look.time_s) == second and look.box is not None]
        if here:
            look = min(here, key=lambda look: abs(look.time_s - second - 0.5))
            assert look.box is not None
            x, y, w, h = look.box
            lines.append(f"\n{look.time_s:.1f} s {in_thousandths((x, y, x + w, y + h), video)}")
    return "".join(lines)
