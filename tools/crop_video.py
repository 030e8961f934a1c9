"""The tool that fetches frames of a stretch of the video."""

from typing import Annotated

from tools.decoding.frame import Content
from tools.handles import VIDEO, stretch_of, video_of
from tools.scene import Limits, Scene


def crop_video(
    scene: Scene,
    limits: Limits,
    start_time: Annotated[float, "Start of the stretch, in seconds."],
    end_time: Annotated[float, "End of the stretch, in seconds; greater than start_time."],
    video: Annotated[str, "Handle of the video."] = VIDEO,
) -> Content:
    """Look closer at a stretch of the video. Gives frames between start_time and end_time, each with its time."""
    opened = video_of(scene, video, limits)
    stretch = stretch_of(opened, start_time, end_time)
    frames = opened.clip(
        stretch.start_s,
        stretch.end_s,
        limits.crop_fps,
        limits.crop_max_frames,
        limits.tool_max_pixels,
        limits.pixel_multiple,
        limits.timeout_s,
        limits.min_pixels,
    )
    labelled = (part for frame in frames for part in (f"{frame.time_s:.1f} s ", frame))
    return (f"frames {stretch}: ", *labelled)
