"""The tool that fetches frames of a stretch of the video."""

from typing import Annotated

from tools.base import Limits, Scene, ToolError
from tools.frame import Content
from tools.video import Video, open_video

VIDEO = "video_1"


def crop_video(
    scene: Scene,
    limits: Limits,
    start_time: Annotated[float, "Start of the stretch, in seconds."],
    end_time: Annotated[float, "End of the stretch, in seconds; greater than start_time."],
    video: Annotated[str, "Handle of the video."] = VIDEO,
) -> Content:
    """Look closer at a stretch of the video. Gives frames between start_time and end_time, each with its time."""
    if video != VIDEO:
        raise ToolError(f"there is no video '{video[:40]}'; the only one is {VIDEO}")
    if start_time < 0:
        raise ToolError(f"start_time must be 0 or more, not {start_time:g}")
    if start_time >= end_time:
        raise ToolError(f"start_time ({start_time:g}) must be less than end_time ({end_time:g})")
    opened = open_video(scene.video_path, limits.timeout_s)
    start_s, end_s, note = _clamped(opened, start_time, end_time)
    frames = opened.clip(
        start_s,
        end_s,
        limits.crop_fps,
        limits.crop_max_frames,
        limits.tool_max_pixels,
        limits.pixel_multiple,
        limits.timeout_s,
    )
    labelled = (part for frame in frames for part in (f"{frame.time_s:.1f} s ", frame))
    return (f"frames from {start_s:.1f} s to {end_s:.1f} s{note}: ", *labelled)


def _clamped(video: Video, start_s: float, end_s: float) -> tuple[float, float, str]:
    first, last = float(video.times[0]), video.duration_s
    if start_s >= last:
        raise ToolError(f"the video ends at {last:.1f} s; start_time must be less than that, not {start_s:g}")
    if end_s <= first:
        raise ToolError(f"the video starts at {first:.1f} s; end_time must be greater than that, not {end_s:g}")
    notes = []
    if start_s < first:
        notes.append(f"starts at {first:.1f} s")
    # The model sees times to a tenth of a second; less than that past the end is not worth a remark.
    if end_s > last + 0.05:
        notes.append(f"ends at {last:.1f} s")
    note = f" (the video {' and '.join(notes)})" if notes else ""
    return max(start_s, first), min(end_s, last), note
