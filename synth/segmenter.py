"""What any segmenter of stage 3 does: find the instances that a tag names, at given times of a video.

Invariant: an instance has one entry a time that was asked for, `None` where it is not in sight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from synth.record import Record


@dataclass(frozen=True)
class SegmentedInstance:
    """One instance through a stretch of video."""

    masks: tuple[np.ndarray | None, ...]
    """A [height, width] bool mask at the video's own size for each time, None where it is not in sight."""
    score: float
    """How sure the segmenter is that this is what the tag names, 0 to 1."""


class Segmenter(Protocol):
    """Finds the instances that a record's target may be."""

    def instances(self, record: Record, times: Sequence[float], timeout_s: float) -> list[SegmentedInstance]:
        """Instances that fit `record.target.tag` at the times (rising seconds), the surest first.

        Raises:
            VideoError: the video cannot be read.
            DeadlineError: it took longer than `timeout_s`.
        """
