"""The tool that shows a part of a frame as the file holds it, without the loss of the first look's small size."""

import math
from typing import Annotated

from tools.decoding.frame import Content, Region
from tools.decoding.video import Video
from tools.errors import ToolError
from tools.handles import VIDEO, video_of
from tools.scene import Limits, Scene

SCALE = 1000
"""Coordinates are thousandths of the frame's width and height, as Qwen3-VL gives them."""


def zoom_region(
    scene: Scene,
    limits: Limits,
    time: Annotated[float, "Time of the frame, in seconds."],
    box: Annotated[list[float], "[left, top, right, bottom] in thousandths of the frame's width and height."],
    video: Annotated[str, "Handle of the video."] = VIDEO,
) -> Content:
    """Look closer at a part of one frame. Gives that part at the video's own resolution."""
    opened = video_of(scene, video, limits)
    region, note = region_of(opened, box)
    budget = limits.tool_max_pixels, limits.pixel_multiple, limits.timeout_s
    [frame] = opened.frames_at([time], *budget, region, limits.min_pixels)
    if abs(time - frame.time_s) > 0.05 and not opened.times[0] <= time <= opened.duration_s:
        note += f" (the video is from {opened.times[0]:.1f} s to {opened.duration_s:.1f} s)"
    return (f"part {in_thousandths(region, opened)} of the frame at {frame.time_s:.1f} s{note}: ", frame)


def in_thousandths(region: tuple[float, float, float, float], video: Video) -> str:
    """A box of pixels (left, top, right, bottom) as a tool writes it."""
    sides = (video.width, video.height) * 2
    return f"[{', '.join(str(round(SCALE * value / side)) for value, side in zip(region, sides, strict=True))}]"


def region_of(video: Video, box: list[float]) -> tuple[Region, str]:
    """The pixels that a box in thousandths covers, and a note of what was cut.

    Raises:
        ToolError: it is not four numbers, empty, or outside of the frame.
    """
    if len(box) != 4:
        raise ToolError(f"box must be [left, top, right, bottom], such as [250, 250, 750, 750], not {len(box)} numbers")
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise ToolError(f"box must have left < right and top < bottom, not [{', '.join(f'{v:g}' for v in box)}]")
    if right <= 0 or bottom <= 0 or left >= SCALE or top >= SCALE:
        raise ToolError(f"box lies outside of the frame; its coordinates go from 0 to {SCALE}")
    inside = [min(max(value, 0.0), float(SCALE)) for value in box]
    sides = (video.width, video.height) * 2
    edges = [value * side / SCALE for value, side in zip(inside, sides, strict=True)]
    x0, y0 = math.floor(edges[0]), math.floor(edges[1])
    region = x0, y0, max(x0 + 1, math.ceil(edges[2])), max(y0 + 1, math.ceil(edges[3]))
    return region, "" if inside == box else f" (coordinates go from 0 to {SCALE})"
