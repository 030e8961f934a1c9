"""The tool that fetches single frames."""

from typing import Annotated

from tools.decoding.frame import Content
from tools.errors import ToolError
from tools.handles import VIDEO, video_of
from tools.scene import Limits, Scene


def view_frames(
    scene: Scene,
    limits: Limits,
    times: Annotated[list[float], "Times of the frames, in seconds."],
    video: Annotated[str, "Handle of the video."] = VIDEO,
) -> Content:
    """Look at single frames of the video. Gives the frame shown at each time, with its own time."""
    if not times:
        raise ToolError("times must name at least one time, such as [2, 7.5]")
    opened = video_of(scene, video, limits)
    wanted = sorted(set(times))
    kept = wanted[: limits.view_max_frames]
    first, last = float(opened.times[0]), opened.duration_s
    notes = []
    if len(kept) < len(wanted):
        notes.append(f"only the first {len(kept)} of {len(wanted)} times; a call gives no more")
    if kept[0] < first - 0.05:
        notes.append(f"the video starts at {first:.1f} s")
    if kept[-1] > last + 0.05:
        notes.append(f"the video ends at {last:.1f} s")
    budget = limits.tool_max_pixels, limits.pixel_multiple, limits.timeout_s
    frames = opened.frames_at(kept, *budget, min_pixels=limits.min_pixels)
    shown = {frame.ref: frame for frame in frames}
    labelled = (part for frame in shown.values() for part in (f"{frame.time_s:.1f} s ", frame))
    note = f" ({'; '.join(notes)})" if notes else ""
    return (f"frames{note}: ", *labelled)
