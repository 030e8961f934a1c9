"""A frame as a model sees it, and the reference from which the same pixels can be made again."""

from dataclasses import dataclass, field

import numpy as np


class VideoError(ValueError):
    """A video or image that cannot be read, said in one sentence."""


@dataclass(frozen=True)
class FrameRef:
    """One frame as a model saw it, to be made again from the file."""

    path: str
    """Video or image file."""
    time_s: float | None
    """Presentation time in the video, seconds; None for an image file."""
    width: int
    """Pixels, as fed to the model."""
    height: int
    """Pixels, as fed to the model."""


@dataclass(frozen=True)
class Frame:
    """A reference with its pixels."""

    ref: FrameRef
    pixels: np.ndarray = field(compare=False)
    """[height, width, 3] uint8 RGB."""
    time_s: float
    """Presentation time that the frame is labelled with, seconds. For a marked image, that of its video frame."""


Content = tuple[str | Frame, ...]
"""Text and frames in reading order: a prompt or an observation."""
