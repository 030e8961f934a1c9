"""What travels through the four stages of the synthesis: a question about a video, and what each stage found out.

Invariants: a record is never changed, each stage makes a new one; a rejected record says by which stage and why, and
goes no further; a record and its line of JSON are the same thing.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

from storage.files import JsonObject
from tools.marks.visual_prompt import Geometry

STAGES = ("question", "text", "video", "mask", "mark")
"""The stages in their order. First questions are made for videos that came without any; then (paper, section 3.2) the
text filter, the verification on the video, masks, and rendering and rewriting."""
PLACE = "<vp>"
"""Stands in a rewritten question for the phrase of the visual prompt."""


class Rejected(Exception):
    """A record that a stage does not let through; the message is the reason, in one short clause without the record's
    own words, so that reasons can be counted."""


@dataclass(frozen=True)
class Target:
    """What the question is about (stage 2)."""

    description: str
    """The instance in the question's words, e.g. `the man in the red shirt`."""
    tag: str
    """3 to 10 words of stable visual attributes, for a segmenter."""
    start_s: float
    """Start of the one window in which the target matters, seconds of presentation time."""
    end_s: float
    question: str
    """The question with `<vp>` in place of the target."""
    options: tuple[str, ...] | None = None
    """The options, those that name the target with `<vp>`; None for an open question."""
    prompt_kind: str | None = None
    """The recommended kind of visual prompt, one of `configs.world.PROMPT_KINDS`."""


@dataclass(frozen=True)
class Mask:
    """Where the target is in one frame (stage 3)."""

    time_s: float
    """Presentation time of the frame, seconds."""
    rle: JsonObject
    """COCO run-length encoding: `{"size": [height, width], "counts": str}`, at the video's own size."""
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the video."""


@dataclass(frozen=True)
class Marked:
    """The finished question (stage 4)."""

    image: str
    """Path of the marked frame, PNG, at the video's own size."""
    time_s: float
    kind: str
    """One of `configs.world.PROMPT_KINDS`."""
    geometry: Geometry
    """What was drawn."""
    question: str
    options: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Record:
    """One question of a source, on its way to a task."""

    id: str
    """Unique in a run; of letters, digits, `-`, `_` and `.` only, so that files can be named after it."""
    source: str
    """The data set and its part, e.g. `LLaVA-Video-178K/academic`."""
    video: str
    """Path of the video."""
    question: str
    answer: str
    """A letter, `A` for the first option, where there are options; else the text."""
    options: tuple[str, ...] | None = None
    """Texts of the options, without letters."""
    dimension: str = ""
    """V2P-Bench dimension, where the source or a stage knows it."""
    licence: str = ""
    split: str = ""
    """The split that it belongs to; empty where its video's name decides."""
    facts: JsonObject = field(default_factory=dict)
    """Ground truth of a source that has it, e.g. the procedural world; never shown to a model."""
    target: Target | None = None
    masks: tuple[Mask, ...] = ()
    """The target's masks in its window, by rising time."""
    marked: Marked | None = None
    rejected_by: str = ""
    """The stage that rejected it, one of `STAGES`; empty while it is in the running."""
    reason: str = ""
    detail: str = ""
    """What else is known of that in this one case, such as the words of a server."""

    def lettered(self) -> list[str]:
        """The options as a model reads them: `A. red`."""
        return [f"{chr(ord('A') + i)}. {option}" for i, option in enumerate(self.options or ())]

    def marked_mask(self) -> Mask:
        """The mask of the frame that is marked."""
        return next(mask for mask in self.masks if self.marked and abs(mask.time_s - self.marked.time_s) < 1e-6)

    def rejected(self, stage: str, reason: str, detail: str = "") -> "Record":
        """The record as a stage sets it aside."""
        return dataclasses.replace(self, rejected_by=stage, reason=reason, detail=detail)

    def to_dict(self) -> JsonObject:
        """JSON of the record."""
        # Not `dataclasses.asdict`, whose deep copies take longer than writing the JSON does.
        return {
            **vars(self),
            "target": self.target and vars(self.target),
            "masks": [vars(mask) for mask in self.masks],
            "marked": self.marked and vars(self.marked),
        }

    @classmethod
    def from_dict(cls, row: JsonObject) -> "Record":
        """The record of `to_dict`'s JSON.

        Raises:
            TypeError, KeyError: not such a row.
        """
        target, marked = row.get("target"), row.get("marked")
        return cls(
            **{
                **row,
                "options": _texts(row.get("options")),
                "target": target and Target(**{**target, "options": _texts(target.get("options"))}),
                "masks": tuple(Mask(**{**mask, "box": tuple(mask["box"])}) for mask in row.get("masks", ())),
                "marked": marked and Marked(**{**marked, "options": _texts(marked.get("options"))}),
            }
        )


def _texts(options: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if options is None else tuple(options)
