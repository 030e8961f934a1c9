"""The procedural world: what `synth` renders when no footage is given."""

from dataclasses import dataclass, field
from typing import Literal

from configs.endpoint import EndpointConfig

PROMPT_KINDS = ("rectangle", "mask_contour", "ellipse", "triangle", "scribble", "point", "arrow", "set_of_mark")
"""The eight kinds of visual prompt (paper, section 3.2)."""
TOLD_KINDS = ("attribute", "direction", "feature", "forward", "reverse", "sequence", "spatial", "counting")
"""Kinds of question about the procedural world that tell when to look, or need no look."""
SEEKING_KINDS = (
    "before_leaving",
    "after_return",
    "before_repaint",
    "after_repaint",
    "meanwhile",
    "return_side",
    "when",
    "around",
)
"""Those that name what happens, so that one has to find out when."""
QUESTION_KINDS = (*TOLD_KINDS, *SEEKING_KINDS)
"""Every kind of question about the procedural world."""


@dataclass
class WorldConfig:
    """Videos of several look-alike instances whose every track and event is known."""

    train_videos: int = 300
    """Videos for training; their seeds never meet those of `test_videos`."""
    rl_videos: int = 0
    """Videos that GRPO plays and that SFT never saw; with none GRPO plays those for training."""
    test_videos: int = 110
    """Videos held out for evaluation."""
    questions_per_video: int = 6
    """Questions asked of one video, about different instances where it has them."""
    size_px: int = 128
    """Width and height of a frame, pixels."""
    fps: int = 8
    """Frames a second of the rendered file."""
    min_duration_s: float = 32.0
    """Shortest video, seconds."""
    max_duration_s: float = 40.0
    """Longest video, seconds. At most 90."""
    min_instances: int = 4
    """Fewest instances in one video."""
    max_instances: int = 4
    """Most instances in one video."""
    gop_s: float = 2.0
    """Seconds between keyframes of the H.264 file."""
    kinds: list[str] = field(default_factory=lambda: list(QUESTION_KINDS))
    """Question kinds, told and seeking ones; each maps to one V2P-Bench dimension."""
    seeking_share: float = 0.65
    """Least share of a video's questions that name what happens instead of when, where the kinds have both."""
    prompt_kinds: list[str] = field(default_factory=lambda: list(PROMPT_KINDS))
    """Visual prompt kinds, drawn uniformly (paper, section 3.2, stage 4)."""
    choice_fraction: float = 0.0
    """Share of the questions asked as multiple choice instead of open (paper, Table 6)."""


@dataclass
class TeacherConfig:
    """Who plays the training tasks: the script, whose errors leave something to improve upon, or a model."""

    player: Literal["script", "model"] = "script"
    """`script`, which knows the procedural world's truth, or the tracks that were measured in footage, or `model`."""
    model: EndpointConfig = field(default_factory=EndpointConfig)
    """The vision-language model that plays, with tool calls of its own."""
    wording: Literal["family", "foreign"] = "family"
    """`family`: the script thinks in the words of the captions and exercises from which the tiny model learned to see;
    `foreign`: in words that it never met. Its calls and answers are the same."""
    tasks: int = 2400
    """Training tasks the teacher plays; only the right episodes are kept."""
    hasty: dict[str, float] = field(default_factory=lambda: {"rectangle": 0.95, "ellipse": 0.95, "triangle": 0.95})
    """By kind of visual prompt, the chance that it trusts the first look where a closer one is needed, and guesses.
    Like the habits of real teachers it hangs on something that has nothing to do with the question."""
    wander: float = 0.1
    """Chance that it first crops a stretch that has nothing to do with the question."""
    give_up: float = 0.5
    """Chance that it guesses where its first look in the right place did not show what is asked for."""
    look_on: float = 0.1
    """Chance that it looks at the same stretch once more when it has seen what is asked for."""
    recheck: float = 0.7
    """Chance that, where it has not looked closer, it looks at the mark once more before it answers."""
