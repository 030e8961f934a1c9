"""One episode: what the agent is shown, which tools it has, how it is rewarded."""

from dataclasses import dataclass, field
from typing import Literal

TOOL_NAMES = (
    "view_visual_prompt",
    "crop_video",
    "view_frames",
    "zoom_region",
    "track_instance",
    "find_instance",
)
"""Every perception tool that there is; the first two are the paper's."""


@dataclass
class RewardConfig:
    """R = alpha * R_acc + beta * R_format + gamma * R_par (paper, section 3.3) + delta * R_evi."""

    alpha: float = 0.8
    """Weight of the answer's accuracy."""
    beta: float = 0.15
    """Weight of the format: 1 if every turn of the episode matches the schema, else 0."""
    gamma: float = 0.05
    """Weight of parsimony, R_par = max(0, 1 - parsimony_lambda * N) after N tool calls."""
    delta: float = 0.0
    """Weight of the evidence, R_evi, the share of the stretches that hold a task's answer of which the agent was shown
    a frame; 1 where there are none. The paper has no such part: it needs tasks that say where their answer is, as
    synthesised ones do, and tells where to look before what is looked at is read right."""
    parsimony_needs_right: bool = False
    """Whether R_par is 0 for an answer that is not right, so that among wrong ones fewer calls count for nothing. The
    paper's formula has it for every answer."""
    parsimony_lambda: float = 0.2
    """Lambda of R_par. The paper gives none; 0.2 reaches zero at its five rounds."""
    function: str = ""
    """A reward of your own instead, as `module:function`, called as `env.reward.score` is; empty takes the paper's."""


@dataclass
class EpisodeConfig:
    """The environment of one question."""

    tools: list[str] = field(default_factory=lambda: ["view_visual_prompt", "crop_video"])
    """Tools, by name or your own as `module:function`."""
    reasoning: bool = True
    """Whether the agent thinks before it acts. Without, it has no tools, and its whole reply is its answer: what
    benchmarks call answering directly."""
    mark_in_prompt: bool = True
    """Whether the prompt has the marked frame where `view_visual_prompt` is not among the tools. In the paper's
    released code it has none: what the tool is worth there is to be shown the mark at all."""
    prompt_style: Literal["full", "compact"] = "full"
    """`full` gives the tools' JSON schemas and the turn format; `compact` one sentence, for models that start blank."""
    prompt_fps: float = 1.0
    """Frames a second of the first look (paper, training details)."""
    prompt_max_frames: int = 256
    """Most frames of the first look, spread evenly over the video (paper, training details)."""
    max_frames: int = 0
    """Most frames of a whole episode, the first look's and the tools' together; when they are spent a tool shows none.
    0 sets no limit. With it, agents with and without tools are compared at the same number of frames."""
    subtitles: Literal["none", "frames", "all"] = "none"
    """Subtitles in the prompt, where the video has any: those on show at a frame of the first look, or all."""
    subtitles_max_chars: int = 12_000
    """Most characters of them; of more, as many lines as fit are taken, spread evenly."""
    prompt_max_pixels: int = 112_896
    """Pixel budget of a frame in the prompt (paper, training details)."""
    tool_max_pixels: int = 112_896
    """Pixel budget of a frame that a tool gives back."""
    min_pixels: int | None = None
    """Fewest pixels of a frame that is fed; a smaller one is enlarged. None: as few as the model's processor takes."""
    crop_fps: float = 2.0
    """Frames a second of a crop."""
    crop_max_frames: int = 32
    """Most frames of a crop, spread evenly over the stretch."""
    view_max_frames: int = 8
    """Most single frames that one call gives."""
    tracker: str = ""
    """Folder or hub id of the SAM 3 tracker of `track_instance`; empty for the tracker that needs no weights."""
    track_max_s: float = 60.0
    """Most seconds that one call follows the target."""
    search_max_frames: int = 240
    """Most frames in which one call looks for the target, spread evenly over the video."""
    pixel_multiple: int = 32
    """Sides of frames are multiples of this, pixels: the policy's patch times its spatial merge, checked at start."""
    max_tool_rounds: int = 5
    """Turns that may call tools; after them the agent is told to answer (paper, training details)."""
    max_calls_per_turn: int = 4
    """Tool calls executed from one turn; more are answered with an error observation."""
    max_turn_tokens: int = 1024
    """Most tokens sampled in one turn."""
    max_tokens: int = 20_480
    """Most tokens of a whole episode, prompt included (paper: 16384 prompt + 4096 response)."""
    tool_timeout_s: float = 30.0
    """Deadline of one tool call, seconds. What it waits for a decoder or tracker that others keep busy is not counted
    in it, but may be as long."""
    timeout_s: float = 600.0
    """Deadline of one episode, seconds, without what its tools wait for others."""
    reward: RewardConfig = field(default_factory=RewardConfig)
