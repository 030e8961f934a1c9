"""The tool that follows the marked target."""

import math
from typing import Annotated

import numpy as np

from tools.decoding.frame import Content
from tools.decoding.video import Video
from tools.decoding.waiting import Deadline
from tools.following.tracker import TRACK_FPS, AppearanceTracker, Sighting, Tracker, presences
from tools.handles import FRAME, VIDEO, Stretch, stretch_of, timed_prompt_of, video_of
from tools.marks.visual_prompt import VisualPrompt
from tools.scene import Limits, Scene
from tools.zoom_region import in_thousandths

GAP_S = 2.0 / TRACK_FPS
"""Longest loss that does not count as having left, seconds; of a slow video, one frame."""


def track_instance(
    scene: Scene,
    limits: Limits,
    start_time: Annotated[float, "Start of the stretch, in seconds."],
    end_time: Annotated[float, "End of the stretch, in seconds; greater than start_time."],
    frame: Annotated[str, "Handle of the marked frame."] = FRAME,
) -> Content:
    """Follow the marked target. Gives when it is in sight between start_time and end_time, and its box each second
    as [left, top, right, bottom] in thousandths of the frame's width and height."""
    prompt = timed_prompt_of(scene, frame)
    video = video_of(scene, VIDEO, limits)
    stretch = stretch_of(video, start_time, end_time)
    if stretch.end_s - stretch.start_s > limits.track_max_s:
        end_s = stretch.start_s + limits.track_max_s
        stretch = Stretch(stretch.start_s, end_s, f" (a call follows for at most {limits.track_max_s:g} s)")
    times = _times(video, stretch)
    looks = _looks(scene.tracker or AppearanceTracker(), video, prompt, times, limits.timeout_s)
    return (f"{_presence(looks, times, stretch)}{_boxes(looks, video)}",)


def _times(video: Video, stretch: Stretch) -> np.ndarray:
    """Times of the frames that are looked at: the one shown at the start and those that begin in the stretch, thinned
    out to `TRACK_FPS`."""
    first = max(0, int(np.searchsorted(video.times, stretch.start_s, side="right")) - 1)
    frames = video.times[first : max(first + 1, int(np.searchsorted(video.times, stretch.end_s)))]
    most = max(1.0, (stretch.end_s - stretch.start_s) * TRACK_FPS)
    return frames[:: max(1, round(len(frames) / most))]


def _looks(tracker: Tracker, video: Video, prompt: VisualPrompt, times: np.ndarray, timeout_s: float) -> list[Sighting]:
    """Looks in order of time, made backwards and forwards from the prompt."""
    deadline = Deadline(timeout_s)
    looks: list[Sighting] = []
    for part in (times[times < prompt.known_time_s][::-1], times[times >= prompt.known_time_s]):
        if len(part):
            looks += tracker.follow(video, prompt, part.tolist(), max(0.0, deadline.left_s))
    return sorted(looks, key=lambda look: look.time_s)


def _presence(looks: list[Sighting], times: np.ndarray, stretch: Stretch) -> str:
    spacing_s = float(np.median(np.diff(times))) if len(times) > 1 else math.inf
    seen = presences(looks, max(GAP_S, 1.5 * spacing_s))
    if not seen:
        return f"the target is not in sight {stretch}"
    # A look stands for the time until the next one.
    ends = [min(part.end_s + spacing_s, stretch.end_s) for part in seen]
    starts = [max(part.start_s, stretch.start_s) for part in seen]
    parts = ", ".join(f"{start_s:.1f} s to {end_s:.1f} s" for start_s, end_s in zip(starts, ends, strict=True))
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
