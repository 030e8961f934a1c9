"""The tool that shows the marked frame again, closer than the prompt may have."""

from typing import Annotated

from tools.base import Limits, Scene, ToolError, listed
from tools.frame import Content
from tools.image import open_image


def view_visual_prompt(
    scene: Scene,
    limits: Limits,
    frame: Annotated[str, "Handle of the marked frame."] = "frame_1",
) -> Content:
    """Look at the frame on which the target is marked. Gives the marked image with its time in the video."""
    handles = [f"frame_{i}" for i in range(1, len(scene.marks) + 1)]
    if frame not in handles:
        raise ToolError(f"there is no frame '{frame[:40]}'; the marked frames are {listed(handles)}")
    mark = scene.marks[handles.index(frame)]
    picture = open_image(mark.image, mark.time_s, limits.tool_max_pixels, limits.pixel_multiple)
    return (f"marked frame at {mark.time_s:.1f} s: ", picture)
