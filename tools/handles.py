"""Handles and stretches as a call names them, and what they stand for.

Invariant: a handle is looked up, never opened; a stretch that reaches past the video is cut to it, with a note of it.
"""

import math
from dataclasses import dataclass

from tools.decoding.video import Video, open_video
from tools.errors import ToolError
from tools.marks.visual_prompt import VisualPrompt
from tools.scene import Limits, Scene
from tools.tool import listed

VIDEO = "video_1"
FRAME = "frame_1"


@dataclass(frozen=True)
class Stretch:
    """A part of the video."""

    start_s: float
    end_s: float
    note: str
    """What was cut, for the caller: ` (the video ends at 20.0 s)`; empty if nothing was."""

    def __str__(self) -> str:
        return f"from {self.start_s:.1f} s to {self.end_s:.1f} s{self.note}"


def video_of(scene: Scene, handle: str, limits: Limits) -> Video:
    """The video that a handle names. Raises ToolError: no such handle. Raises VideoError: the file cannot be read."""
    if handle != VIDEO:
        raise ToolError(f"there is no video '{handle[:40]}'; the only one is {VIDEO}")
    return open_video(scene.video_path, limits.timeout_s)


def prompt_of(scene: Scene, handle: str) -> VisualPrompt:
    """The marked frame that a handle names. Raises ToolError: no such handle."""
    handles = [f"frame_{i}" for i in range(1, len(scene.visual_prompts) + 1)]
    if handle not in handles:
        raise ToolError(f"there is no frame '{handle[:40]}'; the marked frames are {listed(handles)}")
    return scene.visual_prompts[handles.index(handle)]


def timed_prompt_of(scene: Scene, handle: str) -> VisualPrompt:
    """The same, of one whose time is known. Raises ToolError: it is not, so that nothing can be followed from it."""
    prompt = prompt_of(scene, handle)
    if prompt.time_s is None:
        raise ToolError(f"when {handle} was taken is not known, so its target cannot be followed; look for it yourself")
    return prompt


def stretch_of(video: Video, start_s: float, end_s: float) -> Stretch:
    """The part of the video between two times, seconds. Raises ToolError: it is empty, or lies outside of the video."""
    first, last = float(video.times[0]), video.duration_s
    if start_s < 0:
        raise ToolError(f"start_time must be 0 or more, not {start_s:g}")
    if start_s >= end_s:
        raise ToolError(f"start_time ({start_s:g}) must be less than end_time ({end_s:g})")
    if start_s >= last:
        # Rounded down, for a time below it must be right.
        end = math.floor(last * 10) / 10
        raise ToolError(f"the video ends at {end:.1f} s; start_time must be less than that, not {start_s:g}")
    if end_s <= first:
        raise ToolError(f"the video starts at {first:.1f} s; end_time must be greater than that, not {end_s:g}")
    notes = []
    if start_s < first:
        notes.append(f"starts at {first:.1f} s")
    # A caller sees times to a tenth of a second; less than that past the end is not worth a reprompt.
    if end_s > last + 0.05:
        notes.append(f"ends at {last:.1f} s")
    note = f" (the video {' and '.join(notes)})" if notes else ""
    return Stretch(max(start_s, first), min(end_s, last), note)
