"""The procedural world: what `synth` renders when no footage is given."""

from dataclasses import dataclass, field
from typing import Literal

from configs.endpoint import EndpointConfig

PROMPT_KINDS = ("rectangle", "mask_contour", "ellipse", "triangle", "scribble", "point", "arrow", "set_of_mark")
"""The eight kinds of visual prompt (paper, section 3.2)."""
QUESTION_KINDS = ("attribute", "direction", "feature", "forward", "reverse", "sequence", "spatial", "counting")
"""Every kind of question about the procedural world."""


@dataclass
class WorldConfig:
    """Videos of several look-alike instances whose every track and event is known."""

    train_videos: int = 300
    """Videos for training; their seeds never meet those of `test_videos`."""
    test_videos: int = 110
    """Videos held out for evaluation."""
    questions_per_video: int = 6
    """Questions asked of one video, about different instances where it has them."""
    size_px: int = 128
    """Width and height of a frame, pixels."""
    fps: int = 8
    """Frames a second of the rendered file."""
    min_duration_s: float = 28.0
    """Shortest video, seconds."""
    max_duration_s: float = 40.0
    """Longest video, seconds. At most 90."""
    min_instances: int = 3
    """Fewest instances in one video."""
    max_instances: int = 4
    """Most instances in one video."""
    gop_s: float = 2.0
    """Seconds between keyframes of the H.264 file."""
    kinds: list[str] = field(default_factory=lambda: list(QUESTION_KINDS))
    """Question kinds; each maps to one V2P-Bench dimension (OA, OD, FM, FT, RT, AS, SR, GC)."""
    prompt_kinds: list[str] = field(default_factory=lambda: list(PROMPT_KINDS))
    """Visual prompt kinds, drawn uniformly (paper, section 3.2, stage 4)."""
    choice_fraction: float = 0.0
    """Share of the questions asked as multiple choice instead of open (paper, Table 6)."""


@dataclass
class TeacherConfig:
    """Who plays the training tasks: the script, whose errors leave something to improve upon, or a model."""

    player: Literal["script", "model"] = "script"
    """`script`, which knows the procedural world's truth and nothing else, or `model`."""
    model: EndpointConfig = field(default_factory=EndpointConfig)
    """The vision-language model that plays, with tool calls of its own."""
    tasks: int = 2400
    """Training tasks the teacher plays; only the right episodes are kept."""
    hasty: dict[str, float] = field(default_factory=lambda: {"point": 0.92, "arrow": 0.92, "triangle": 0.92})
    """By kind of visual prompt, the chance that it trusts the first look where a closer one is needed, and guesses.
    Like the habits of real teachers it hangs on something that has nothing to do with the question."""
    wander: float = 0.0
    """Chance that it first crops a stretch that has nothing to do with the question."""
    recheck: float = 0.7
    """Chance that, where it has not looked closer, it looks at the mark once more before it answers."""
