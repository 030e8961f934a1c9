"""The tool that finds where in the video the marked target appears."""

from typing import Annotated

import numpy as np

from tools.decoding.frame import Content
from tools.following.tracker import AppearanceTracker, presences
from tools.handles import FRAME, VIDEO, timed_prompt_of, video_of
from tools.scene import Limits, Scene

FIND_FPS = 2.0
"""Most looks a second."""
KEYFRAMES_WITHIN = 4
"""Keyframes are looked at instead of evenly spaced frames where they are at most this much rarer."""
MAX_STRETCHES = 12
"""Most stretches given, the likeliest; in order of time."""


def find_instance(
    scene: Scene, limits: Limits, frame: Annotated[str, "Handle of the marked frame."] = FRAME
) -> Content:
    """Find where in the video something looks like the marked target. Gives stretches, each with its likeness from 0
    to 1. Look-alikes are found too."""
    prompt = timed_prompt_of(scene, frame)
    video = video_of(scene, VIDEO, limits)
    start_s, end_s = float(video.times[0]), video.duration_s
    count = min(limits.search_max_frames, max(1, round((end_s - start_s) * FIND_FPS)))
    # Keyframes need no others to be decoded first; where they are not much rarer they do as well.
    keyframes = video.keyframe_s <= KEYFRAMES_WITHIN * (end_s - start_s) / count
    if keyframes:
        count = min(count, max(1, round((end_s - start_s) / video.keyframe_s)))
    step_s = (end_s - start_s) / count
    times = start_s + (np.arange(count) + (1.0 if keyframes else 0.5)) * step_s
    looks = AppearanceTracker().find(video, prompt, times.tolist(), limits.timeout_s, keyframes)
    seen = presences(looks, 1.6 * step_s)
    given = sorted(sorted(seen, key=lambda part: -part.likeness)[:MAX_STRETCHES], key=lambda part: part.start_s)
    half = step_s / 2
    parts = [
        f"{max(start_s, part.start_s - half):.1f} s to {min(end_s, part.end_s + half):.1f} s ({part.likeness:.2f})"
        for part in given
    ]
    looked = f"one look each {step_s:.1f} s"
    if len(looks) < count:
        looked += f", only until {looks[-1].time_s:.1f} s; there was no time for more"
    if not parts:
        return (f"nothing like the target is in sight ({looked})",)
    more = f"; {len(seen) - len(given)} less likely left out" if len(seen) > len(given) else ""
    return (f"the target or its like ({looked}): {', '.join(parts)}{more}",)
