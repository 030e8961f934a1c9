"""Learning: the supervised cold start, GRPO, and the DeepSpeed ranks both run on."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class RanksConfig:
    """The DeepSpeed ranks."""

    ranks: int = 1
    """Learner processes; each is a Ray actor."""
    gpus_per_rank: int = 0
    """1 puts a rank on a GPU (NCCL), 0 on the CPU (gloo)."""
    cpus_per_rank: int = 1
    """Threads of a rank on the CPU."""
    zero_stage: int = 0
    """DeepSpeed ZeRO stage, 0 to 3."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type of the learner; bfloat16 is slower than float32 on a CPU."""
    micro_batch_tokens: int = 8192
    """Most padded tokens of one forward pass."""
    freeze_vision: bool = False
    """Leave the vision tower as it is (paper, training details)."""
    beta2: float = 0.98
    """Decay of AdamW's second moments."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    frame_cache_mib: int = 1024
    """Decoded frames that a rank keeps, so that rollouts of one task and later epochs decode them once, MiB."""
    weights_dir: str | None = None
    """Folder through which engines get new weights; one that all nodes share where engines run on other nodes than
    rank 0. None takes shared memory, or the folder for temporary files where that is full."""
    step_timeout_s: float = 600.0
    """Deadline of one optimizer step, seconds."""


@dataclass
class SftConfig:
    """Supervised fine-tuning on accepted teacher trajectories."""

    steps: int = 300
    """Optimizer steps."""
    batch: int = 32
    """Trajectories an optimizer step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW, cosine to a tenth."""
    warmup: float = 0.1
    """Share of the steps spent warming up (paper, training details)."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0


@dataclass
class GrpoConfig:
    """Group relative policy optimization (paper, Eq. 8)."""

    steps: int = 24
    """GRPO steps; each eats `prompts_per_step` groups."""
    prompts_per_step: int = 16
    """Groups a step (paper: 32)."""
    group_size: int = 8
    """Trajectories of one task, G (paper: 8)."""
    mini_batches: int = 1
    """Optimizer updates a step (paper: 4)."""
    lr: float = 2e-4
    """Learning rate of AdamW, constant after the first step."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    clip: float = 0.2
    """Epsilon of the clipped ratio."""
    kl_coef: float = 0.001
    """Beta, weight of the low-variance KL to the reference policy (paper, training details)."""
    advantage_eps: float = 1e-6
    """Added to a group's standard deviation of rewards. As small as this, it gives a group that differs in the number
    of calls alone the same weight as one that differs in right and wrong."""
    drop_uniform_groups: bool = True
    """Leave out groups whose rewards are all equal: their advantages are zero."""
    max_staleness: int = 0
    """Most optimizer steps between a token's policy version and the learner's. 0 is fully synchronous."""
    max_mismatch_kl: float = 1e-3
    """Gate on the KL between the engine's and the learner's logprobs of the same tokens; past it the run stops."""
    env_runners: int = 1
    """RLlib env runners."""
    episodes_in_flight: int = 64
    """Episodes that one env runner plays at once."""
    rollout_timeout_s: float = 600.0
    """Deadline of one step's rollouts, seconds."""
    checkpoint_every: int = 10
    """Steps between checkpoints; the last step always makes one."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept."""
