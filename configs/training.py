"""Learning: the supervised cold start, GRPO, and the DeepSpeed ranks both run on."""

from dataclasses import dataclass, field
from typing import Literal

Transport = Literal["file", "shared_memory", "nccl", "ipc"]
"""Ways of weights from the ranks to the engines."""
NATIVE: tuple[Transport, ...] = ("nccl", "ipc")
"""Those that are vLLM's own weight transfer, between GPUs."""
OptimizerName = Literal["adamw", "muon"]
Part = Literal["language", "projector", "vision"]
"""Parts of the model. The projector is what maps frames into the language model: the mergers of the vision tower."""
LEAST_STAGE = {"none": 0, "optimizer": 1, "all": 3}
"""Lowest `ranks.zero_stage` that each `ranks.offload` needs."""


@dataclass
class LoraConfig:
    """A low-rank adapter (LoRA, arXiv 2106.09685) that trains while the weights stay as they are."""

    rank: int = 0
    """Rank r of the adapter; 0 trains the weights themselves."""
    alpha: int = 32
    """The adapter's product counts alpha / r times."""
    dropout: float = 0.0
    """Share of an adapter's inputs that is dropped in training. Above 0 the learner's logprobs are not the engine's,
    which GRPO's gate on the gap between them will say."""
    targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    """Last names of the linear layers that get one, among those of the parts in `ranks.train`. The default is those of
    the language model; the vision tower and the projector have qkv, proj, linear_fc1 and linear_fc2."""


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
    offload: Literal["none", "optimizer", "all"] = "none"
    """What ZeRO keeps in the host's memory: the optimizer's state (stages 1 to 3), or parameters as well (stage 3)."""
    micro_batch_tokens: int = 8192
    """Most tokens of one forward pass, padding included."""
    packing: bool = False
    """Put the trajectories of a forward pass end to end in one row instead of padding them to the longest. The same
    loss and gradients, up to rounding, with no token computed in vain."""
    train: list[Part] = field(default_factory=lambda: ["language", "projector", "vision"])
    """Parts of the model that train; the others stay as they are. The projector is what maps frames into the language
    model: the mergers of the vision tower. The paper's training details: language and projector."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    beta2: float = 0.98
    """Decay of AdamW's second moments."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    frame_cache_mib: int = 1024
    """Decoded frames that a rank keeps, so that rollouts of one task and later epochs decode them once, MiB."""
    transport: Literal["auto", "file", "shared_memory", "nccl", "ipc"] = "auto"
    """How engines get new weights: a safetensors file on disk or in shared memory, or vLLM's own weight transfer, by
    packed NCCL broadcast or by CUDA IPC. auto takes the file if `weights_dir` is set; between GPUs ipc where all
    engines are on the ranks' own, else nccl; and shared memory, or a file where that is short, in all other cases."""
    weights_dir: str | None = None
    """Folder of the file, shared by all nodes that rank 0 or engines are on; None takes that for temporary files."""
    bucket_mib: int = 512
    """Most weights that ZeRO-3 gathers, or vLLM's weight transfer packs, at once, MiB; a larger tensor goes alone."""
    step_timeout_s: float = 600.0
    """Deadline of each call of the ranks (start, step, load, publish) and of writing a checkpoint, seconds."""
    gpu_memory_gib: float | None = None
    """Memory of each GPU, GiB, that a run must fit into. None asks the cluster, and takes 80 where it has none yet."""


LESSON_KINDS = ("caption", "words", "lookup", "strip", "exercise")
"""Kinds of the lessons that a model which starts from nothing learns to see and to conclude from."""


@dataclass
class StageConfig:
    """A stage of a curriculum."""

    steps: int = 100
    """Optimizer steps, at most."""
    until: float | None = None
    """Loss at which the stage ends before that: what its last 20 steps have to average. None makes all steps."""
    passes: float | None = None
    """Times that the lessons of any kind are taught in it on average, at most: it has fewer steps where one is scarce.
    None makes all steps."""
    lessons: dict[str, int] = field(default_factory=dict)
    """Lessons of each kind an optimizer step: of SFT `episode`, the teacher's, and of both SFT and captions `caption`,
    `words`, `lookup`, `strip` and `exercise`, of which released weights need none."""


@dataclass
class SftConfig:
    """Supervised fine-tuning on accepted teacher trajectories."""

    steps: int = 300
    """Optimizer steps."""
    batch: int = 32
    """Trajectories an optimizer step."""
    curriculum: list[StageConfig] = field(default_factory=list)
    """Stages, each with its `steps` and with how many `lessons` of each kind a step takes, one after the other in place
    of `steps` times `batch`; one course of the learning rate spans all of them."""
    optimizer: OptimizerName = "adamw"
    """`muon` steps matrices by Muon and the rest by AdamW, with one learning rate, for models that start from random
    weights; released weights were trained with AdamW."""
    lr: float = 1e-3
    """Peak learning rate, cosine to a tenth."""
    warmup: float = 0.1
    """Share of the steps spent warming up (paper, training details)."""
    weight_decay: float = 0.01
    """Decay of matrices; vectors (norms, biases) have none."""
    max_grad_norm: float = 1.0
    """Norm to which the gradient is clipped."""
    checkpoint_every: int = 100
    """Steps between checkpoints, from the newest of which an interrupted stage goes on; gone once it has ended."""
    max_bad_updates: int = 3
    """Updates in a row that are left out, as their loss or gradient is not finite or no picture of their batch can be
    read, after which the training stops."""

    @property
    def all_steps(self) -> int:
        """Optimizer steps, those of all stages."""
        return sum(stage.steps for stage in self.curriculum) if self.curriculum else self.steps

    @property
    def mean_batch(self) -> float:
        """Trajectories an optimizer step, on average."""
        of_stages = sum(stage.steps * sum(stage.lessons.values()) for stage in self.curriculum)
        return of_stages / self.all_steps if self.curriculum else self.batch


@dataclass
class GrpoConfig:
    """Group relative policy optimization (paper, Eq. 8) and its relatives; the defaults are the paper's objective."""

    steps: int = 24
    """GRPO steps; each eats `prompts_per_step` groups."""
    prompts_per_step: int = 16
    """Groups a step (paper: 32)."""
    group_size: int = 8
    """Trajectories of one task, G (paper: 8)."""
    mini_batches: int = 1
    """Optimizer updates of a full step (paper: 4). One is of `prompts_per_step` / `mini_batches` groups (paper: 8), so
    that a step of fewer groups has fewer updates."""
    train: list[Part] = field(default_factory=list)
    """Parts that GRPO trains; with none those of `ranks.train`."""
    lr: float = 2e-4
    """Highest learning rate of AdamW."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises evenly to `lr`; with 0 the first has it."""
    lr_end_share: float = 1.0
    """Share of it at the last step, to which it falls evenly; 1 keeps it constant."""
    weight_decay: float = 0.0
    """Decay of AdamW on matrices; vectors (norms, biases) have none."""
    max_grad_norm: float = 1.0
    """Norm to which the gradient is clipped."""
    surrogate: Literal["clip", "gspo", "cispo", "reinforce"] = "clip"
    """What is maximized for a token of ratio r and advantage A. `clip`: the clipped ratio (paper, Eq. 8); `gspo`: the
    same with the trajectory's geometric-mean ratio (arXiv 2507.18071, Eq. 5); `cispo`: REINFORCE weighted by the
    clipped ratio (arXiv 2506.13585, Eq. 4); `reinforce`: r A, never clipped."""
    aggregation: Literal["sequence_mean", "token_mean", "token_sum_norm"] = "sequence_mean"
    """How tokens add up to a loss: the mean over trajectories of token means (paper, Eq. 8), the mean over all tokens
    (DAPO, arXiv 2503.14476), or the mean over trajectories of token sums over `norm_tokens` (Dr. GRPO, arXiv
    2503.20783)."""
    norm_tokens: int = 4096
    """Constant length that `token_sum_norm` divides by, tokens (paper: the response limit)."""
    clip: float = 0.2
    """Epsilon of the clipped ratio, below 1 and, without `clip_high`, above it; 1 leaves the ratio unbounded below."""
    clip_high: float | None = None
    """Epsilon above 1 (clip-higher, DAPO); None takes `clip`."""
    dual_clip: float | None = None
    """c > 1: for a negative advantage the surrogate is at least c A, however large the ratio (arXiv 1912.09729;
    usually 3). None leaves it unbounded."""
    kl_coef: float = 0.001
    """Beta, weight of the KL to the reference policy (paper, training details)."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimate of the KL from a sampled token, d = log pi - log pi_ref: d, d^2 / 2, or the low-variance
    exp(-d) + d - 1 (paper, training details). As a loss term k1 has a gradient of mean zero: use it in the reward."""
    kl_in: Literal["loss", "reward"] = "loss"
    """A term of the loss (paper, Eq. 8), or beta times its sum over the trajectory's tokens, with pi_old for pi, off
    the trajectory's reward before the advantages are taken (PPO, RLOO)."""
    entropy_coef: float = 0.0
    """Weight of the policy's entropy, which is maximized (paper: 0)."""
    min_entropy: float = 0.0
    """Least entropy of the policy at a token, nats, for its surrogate to count: what the policy is all but certain of
    has the KL alone, and only its decisions have a reward (after arXiv 2506.01939, which keeps the fifth of a batch's
    tokens that has the most)."""
    old_logprobs: Literal["engine", "learner"] = "engine"
    """Whose logprobs are pi_old: those that the engine sampled with, or the learner's own at the start of the step."""
    correction: Literal["none", "token", "sequence"] = "none"
    """Importance weight w = pi_old / pi_engine of the surrogate, of each token or of the whole trajectory (truncated
    importance sampling). Needs `old_logprobs: learner`; with the engine's, r is that ratio already."""
    correction_max: float = 2.0
    """Bound of the weight w (verl: 2)."""
    correction_min: float = 0.0
    """Weights below this count as 0."""
    correction_beyond: Literal["truncate", "mask"] = "truncate"
    """What becomes of a weight above its bound: the bound (TIS), or 0 (masked importance sampling)."""
    max_sequence_gap: float | None = None
    """Trajectories whose mean of log pi_old - log pi_engine is farther from 0 than this, nats a token, get no loss.
    Needs `old_logprobs: learner`. None keeps all."""
    advantage: Literal["standardized", "centred", "leave_one_out"] = "standardized"
    """A trajectory's reward against its group's: less the mean, over the standard deviation (paper, Eq. 7); less the
    mean (Dr. GRPO); less the mean of the others (RLOO, arXiv 2402.14740)."""
    advantage_eps: float = 1e-6
    """Added to a group's standard deviation of rewards. As small as this, it gives a group that differs in the number
    of calls alone the same weight as one that differs in right and wrong."""
    overlong_buffer: int = 0
    """Last of `episode.max_tokens` in which the reward falls, by `overlong_penalty` (DAPO, Eq. 13); 0 punishes none."""
    overlong_penalty: float = 1.0
    """What a trajectory that was cut off at its limit loses of its reward, where `overlong_buffer` is not 0."""
    mask_overlong: bool = False
    """Leave trajectories that were cut off at their limit out of the loss; their rewards still count in their group."""
    drop_uniform_groups: bool = True
    """Leave out groups whose rewards are all equal: their advantages are zero."""
    dynamic_sampling: bool = False
    """Play more prompts in place of groups left out, until a step has `prompts_per_step` that teach (DAPO, Eq. 11)."""
    max_prompt_batches: int = 10
    """Most prompts tried for a step, in `prompts_per_step`s (verl: 10); one that reaches it trains on what there is."""
    max_staleness: int = 0
    """Most training steps between a token's policy version and the learner's. 0 is fully synchronous."""
    max_mismatch_kl: float = 1e-3
    """Gate on the KL between the engine's and the learner's logprobs of the same tokens; past it the run stops."""
    env_runners: int = 1
    """RLlib env runners; evaluation and `difficulty` have as many."""
    episodes_in_flight: int = 64
    """Episodes that one env runner plays at once."""
    rollout_timeout_s: float = 1800.0
    """Deadline of one step's rollouts, and of the next episode of an evaluation, seconds; an episode that runs into its
    own has to fit in."""
    checkpoint_every: int = 10
    """Steps between checkpoints; the last step always makes one."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept."""
    best_metric: str = "accuracy"
    """Metric of the steps by whose mean, since the checkpoint before, the best checkpoint is kept besides the newest.
    The highest is best, with a leading minus the lowest; empty keeps only the newest."""
    async_checkpoints: bool = True
    """Write checkpoints while the next step runs, from a copy in host memory; the last step's is waited for."""
    max_bad_updates: int = 3
    """Updates in a row that are left out, as their loss or gradient is not finite or no picture of their batch can be
    read, after which the run stops."""
    max_rebuilds: int = 3
    """Times within `rebuild_window` steps that ranks, engines or env runners which failed are replaced, and the run
    goes on from its newest checkpoint."""
    rebuild_window: int = 100
    """Training steps past its own after which a rebuild counts no more."""
