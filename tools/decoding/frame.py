"""A frame as a model sees it, and the reference from which the same pixels can be made again."""

import math
from dataclasses import dataclass, field

import numpy as np

from storage.files import JsonObject

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".ogv")
"""Endings by which videos are found in folders; a file that is named may have any."""
Region = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of an upright frame, pixels; right and bottom are outside."""


Stamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds of a file, by which it is known to be unchanged."""


class VideoError(ValueError):
    """A video or image that cannot be read, said in one sentence."""


class DeadlineError(VideoError):
    """It could not be read in the time there was."""


class BusyError(DeadlineError):
    """What reads was busy with others all that time, which is no fault of the video's, nor of who asked."""


class DecoderError(VideoError):
    """There is no process to read with, which is the machine's trouble and no video's."""


@dataclass(frozen=True)
class FrameRef:
    """One frame as a model saw it, to be made again from the file."""

    path: str
    """Video or image file."""
    time_s: float | None
    """Presentation time in the video, seconds; None for an image file."""
    width: int
    height: int
    """Pixels, as fed to the model."""
    region: Region | None = None
    """The part of the frame that was shown; None for the whole of it."""

    @staticmethod
    def from_dict(row: JsonObject) -> "FrameRef":
        """The inverse of `dataclasses.asdict`, from JSON too."""
        region = row.get("region")
        return FrameRef(**{**row, "region": tuple(region) if region else None})


FrameKey = tuple[FrameRef, Stamp]
"""A frame as caches know it: its reference and the stamp of its file."""


@dataclass(frozen=True)
class Frame:
    """A reference with its pixels."""

    ref: FrameRef
    pixels: np.ndarray = field(compare=False)
    """[height, width, 3] uint8 RGB."""
    time_s: float
    """Presentation time that the frame is labelled with, seconds. For a marked image, that of its video frame; NaN
    where that is not known."""

    @property
    def at(self) -> str:
        """The time as a label has it, ` at 12.3 s`; empty where it is not known."""
        return "" if math.isnan(self.time_s) else f" at {self.time_s:.1f} s"


Content = tuple[str | Frame, ...]
"""Text and frames in reading order: a prompt or an observation."""
