"""Who says whether an answer is right."""

from dataclasses import dataclass, field
from typing import Literal

from configs.endpoint import EndpointConfig


@dataclass
class ServedModelConfig:
    """A language model that the run serves to itself, with vLLM on its own cluster."""

    model: str = ""
    """Folder or hub name of the model; empty serves none."""
    gpus: int = 0
    """GPUs that it takes, all of one node; 0 runs it on the CPU."""
    max_model_len: int = 8192
    """Longest request with its reply, tokens."""
    max_num_seqs: int = 64
    """Requests that are answered at once."""
    kv_cache_gib: float = 1.0
    """Memory for the states of the requests on the CPU, GiB."""
    start_timeout_s: float = 900.0
    """Deadline of its start, seconds."""


@dataclass
class JudgeConfig:
    """Who says whether an open answer is right (R_acc) where the rules are not certain of it."""

    by: Literal["rules", "model"] = "rules"
    """`rules`: what is not certainly right is wrong, as fits a closed vocabulary. `model`: a language model says
    whether the answer says what the right one says: 1, 0.5 in part, or 0 (as in the paper's released recipe)."""
    model: EndpointConfig = field(default_factory=lambda: EndpointConfig(max_tokens=256))
    """The language model; it needs no eyes."""
    serve: ServedModelConfig = field(default_factory=ServedModelConfig)
    """A model that the run serves itself, for as long as it takes; then `judge.model` needs no address and no name."""
    unreachable: Literal["pause", "drop"] = "pause"
    """Where the model cannot be reached: wait until it can, or leave the episode out. It never becomes a reward."""
    pause_s: float = 900.0
    """How long an episode waits at most for a judge that cannot be reached, seconds; then it fails, and is played
    again as one that failed."""
    answer_chars: int = 600
    """Longest part of an answer that is judged; one that is longer is wrong."""
    folder: str = ""
    """Where verdicts are kept, for all runs that name it; empty means `runs_dir/judge`."""
    canary_every: int = 10
    """Training steps from one look at whether the judge still judges pairs as people did to the next; 0 never looks."""
    canary_pairs: int = 12
    """Pairs that are asked then."""
