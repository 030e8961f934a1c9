"""The visual prompt: a frame on which somebody has marked the target of a question.

Invariant: a `VisualPrompt` that exists is well formed.
"""

import math
from dataclasses import dataclass
from typing import TypedDict

from configs.world import PROMPT_KINDS


class VisualPromptError(ValueError):
    """A visual prompt that cannot be used, said in one sentence."""


class Geometry(TypedDict, total=False):
    """What was drawn, in pixels of the image. Example: `{"points": [[40.0, 52.5]]}`."""

    box: list[float]
    """x, y, width, height."""
    points: list[list[float]]
    """[x, y] of each; of an arrow, its tail and its tip."""
    label: str
    """What the badge of a set-of-mark says."""
    badge: list[float]
    """[x, y] of the badge's middle."""


@dataclass(frozen=True)
class VisualPrompt:
    """A mark drawn on one frame."""

    image: str
    """Path of the marked frame (PNG), at the video's own size."""
    time_s: float | None
    """Presentation time of that frame, seconds; None where it is not known, as in V2P-Bench."""
    kind: str = ""
    """One of the eight kinds, `configs.world.PROMPT_KINDS`; empty where it is not known."""
    geometry: Geometry | None = None
    """What was drawn: its `box` or its `points`; None where it is not known."""

    @property
    def known_time_s(self) -> float:
        """The time, where it is known. Raises VisualPromptError: it is not."""
        if self.time_s is None:
            raise VisualPromptError(f"{self.image}: when this frame was taken is not known")
        return self.time_s

    def __post_init__(self) -> None:
        if self.kind and self.kind not in PROMPT_KINDS:
            raise VisualPromptError(
                f"{self.image}: no visual prompt kind '{self.kind}'; the kinds are {', '.join(PROMPT_KINDS)}"
            )
        if self.time_s is not None and not _is_number(self.time_s):
            raise VisualPromptError(f"{self.image}: time_s must be a number of seconds, not {self.time_s!r}")
        if self.geometry is not None and not _is_geometry(self.geometry):
            raise VisualPromptError(
                f'{self.image}: geometry must hold "box": [x, y, w, h] or "points": [[x, y], ...], in numbers'
            )


def _is_geometry(geometry: object) -> bool:
    if not isinstance(geometry, dict):
        return False
    points = geometry.get("points")
    if points is None:
        return _are_numbers(geometry.get("box"), 4)
    return isinstance(points, list | tuple) and len(points) > 0 and all(_are_numbers(point, 2) for point in points)


def _are_numbers(values: object, count: int) -> bool:
    return isinstance(values, list | tuple) and len(values) == count and all(_is_number(value) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
