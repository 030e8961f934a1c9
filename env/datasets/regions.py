"""Targets that come as masks, drawn as people mark them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from env.datasets.question import Region
from storage.files import whole_file
from tools.decoding.frame import VideoError
from tools.decoding.video import open_video
from tools.marks.drawing import draw
from tools.marks.rle import RleError, decode
from tools.marks.visual_prompt import VisualPrompt


def draw_region(video: str, region: Region, kind: str, out: Path | None) -> VisualPrompt:
    """The picture of a video, at its own size, with a region marked on it: written to `out`, unless that is None.

    Raises:
        VideoError: the video has no such picture, or the region is no mask of one.
    """
    opened = open_video(video)
    if region.picture >= len(opened.times):
        raise VideoError(f"has a mask of picture {region.picture}, and its video has {len(opened.times)}")
    try:
        mask = decode(region.rle)
    except RleError as error:
        raise VideoError(f"has a mask that cannot be read: {error}") from None
    if not mask.any():
        raise VideoError("has an empty mask")
    time_s = float(opened.times[region.picture])
    [frame] = opened.frames_at([time_s], opened.width * opened.height, 1)
    height, width = frame.pixels.shape[:2]
    if mask.shape != (height, width):
        mask = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
    try:
        pixels, geometry = draw(frame.pixels, kind, mask=mask)
    except ValueError as error:
        raise VideoError(f"has a mask that cannot be marked ({error})") from None
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as partial:  # another command may be reading it
            Image.fromarray(pixels).save(partial, "png")
    return VisualPrompt(str(out or ""), time_s, kind, geometry)
