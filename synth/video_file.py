"""Writing videos that are made here."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from storage.files import whole_file


def write_frames(path: str | Path, frames: Iterable[np.ndarray], fps: Fraction, gop: int) -> None:
    """Encode frames, [height, width, 3] uint8 RGB of even sides, as MP4 (H.264), whole or not at all.

    Args:
        fps: frames a second.
        gop: frames from one keyframe to the next.
    """
    with whole_file(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / fps
        stream.thread_count = 1
        stream.options = {"preset": "superfast", "crf": "23", "g": str(gop)}
        for i, pixels in enumerate(frames):
            if i == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
