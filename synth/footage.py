"""A stretch of a video, as a model is sent it.

Invariant: each frame stands after the text of its true presentation time.
"""

from io import BytesIO

import numpy as np
from PIL import Image as Picture

from configs.endpoint import EndpointConfig
from endpoint.parts import Clip, Image, Part
from tools.decoding.video import TICK_S, TIMEOUT_S, open_video

QUALITY = 90
"""JPEG quality of the frames: at 90, edges and small colours keep."""


def footage(
    config: EndpointConfig, path: str, start_s: float, end_s: float, timeout_s: float = TIMEOUT_S
) -> list[Part]:
    """The stretch as parts: labelled frames, or the whole file and, where it is longer, which part of it is meant.

    Frames are spread evenly, `config.fps` a second but no more than `config.max_frames`. A stretch that reaches past
    the video is cut to it. It reads and decodes, so it is nothing for an event loop's thread.

    Raises:
        VideoError: the video cannot be read, or not within `timeout_s`.
    """
    video = open_video(path, timeout_s)
    if config.video_as == "video":
        whole = start_s <= video.times[0] + TICK_S and end_s >= video.duration_s - TICK_S
        return [Clip(path)] if whole else [Clip(path), f"Only {start_s:.1f} s to {end_s:.1f} s of the video are meant."]
    parts: list[Part] = []
    for frame in video.clip(start_s, end_s, config.fps, config.max_frames, config.max_pixels, 1, timeout_s):
        parts += [f"{frame.time_s:.1f} s", jpeg(frame.pixels)]
    return parts


def jpeg(pixels: np.ndarray) -> Image:
    """A picture, [height, width, 3] uint8 RGB, for a model."""
    data = BytesIO()
    Picture.fromarray(pixels).save(data, "jpeg", quality=QUALITY)
    return Image(data.getvalue())
