"""The tool that shows the marked frame again, closer than the prompt may have."""

from typing import Annotated

from tools.decoding.frame import Content
from tools.decoding.image import open_image
from tools.handles import FRAME, prompt_of
from tools.scene import Limits, Scene


def view_visual_prompt(
    scene: Scene, limits: Limits, frame: Annotated[str, "Handle of the marked frame."] = FRAME
) -> Content:
    """Look at the frame on which the target is marked. Gives the marked image with its time in the video."""
    prompt = prompt_of(scene, frame)
    picture = open_image(prompt.image, prompt.time_s, limits.tool_max_pixels, limits.pixel_multiple, limits.min_pixels)
    return (f"marked frame{picture.at}: ", picture)
