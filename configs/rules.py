"""Which settings of a run go together.

Invariant: a setting that would do nothing, or something else than it says, beside the others is refused before
anything starts.
"""

from pathlib import Path

from configs.run import Config
from configs.training import LEAST_STAGE, NATIVE, GrpoConfig, LoraConfig

SAVING = ("checkpoint_every", "keep_checkpoints")


def require_consistent(config: GrpoConfig, has_reference: bool) -> None:
    """Check the settings of the objective against each other.

    Args:
        has_reference: whether there is a reference policy.

    Raises:
        ValueError: two of them contradict each other, or one is out of its range; names the keys and what to set.
    """
    for key in ("mini_batches", "group_size", "prompts_per_step", "norm_tokens", "max_prompt_batches", *SAVING):
        if getattr(config, key) < 1:
            raise ValueError(f"grpo.{key} must be at least 1, not {getattr(config, key)}")
    for key in ("clip", "clip_high", "overlong_buffer", "overlong_penalty", "correction_min", "max_sequence_gap"):
        if (getattr(config, key) or 0) < 0:
            raise ValueError(f"grpo.{key} must not be negative, but is {getattr(config, key)}")
    corrects = config.correction != "none" or config.max_sequence_gap is not None
    rules = {
        "grpo.correction and grpo.max_sequence_gap compare pi_old with the engine's: set grpo.old_logprobs=learner": (
            corrects and config.old_logprobs == "engine"
        ),
        "grpo.correction_max must not be below grpo.correction_min": config.correction_max < config.correction_min,
        "grpo.dual_clip must be above 1, and is for grpo.surrogate=clip or gspo": (
            config.dual_clip is not None and (config.dual_clip <= 1 or config.surrogate not in ("clip", "gspo"))
        ),
        "grpo.kl_in=reward needs a reference policy": config.kl_in == "reward" and not has_reference,
        "grpo.dynamic_sampling replaces the groups that grpo.drop_uniform_groups leaves out: set that too": (
            config.dynamic_sampling and not config.drop_uniform_groups
        ),
        "grpo.advantage=leave_one_out needs a grpo.group_size of at least 2": (
            config.advantage == "leave_one_out" and config.group_size < 2
        ),
    }
    for said, broken in rules.items():
        if broken:
            raise ValueError(said)


def require_consistent_ranks(config: Config, model_dir: str, reference_dir: str | None) -> None:
    """Check the settings of the ranks against each other, and against those of the engines.

    Raises:
        ValueError: two of them contradict each other; names the keys and what to set.
    """
    ranks, lora = config.ranks, config.ranks.lora
    least = LEAST_STAGE[ranks.offload]
    if ranks.zero_stage < least:
        raise ValueError(f"ranks.offload={ranks.offload} needs ranks.zero_stage >= {least}, not {ranks.zero_stage}")
    if lora.rank and reference_dir is not None and Path(reference_dir) != Path(model_dir):
        raise ValueError(
            f"with ranks.lora the reference policy is the model without its adapter, {model_dir}; it can't be "
            f"{reference_dir}"
        )
    if config.engine.lora_rank and not 0 < lora.rank <= config.engine.lora_rank:
        raise ValueError(
            f"engine.lora_rank={config.engine.lora_rank} makes the learner publish an adapter, so ranks.lora.rank must "
            f"be 1 to {config.engine.lora_rank}, not {lora.rank}"
        )
    if config.engine.lora_rank and ranks.transport not in ("auto", "file"):
        raise ValueError("with engine.lora_rank an adapter is published, as a file; leave ranks.transport at auto")
    if ranks.transport in NATIVE and not (ranks.gpus_per_rank and config.engine.gpus_per_engine):
        raise ValueError(f"ranks.transport={ranks.transport} takes ranks and engines on GPUs; leave it at auto")
    engine = config.engine
    if engine.colocate and not (ranks.gpus_per_rank == engine.gpus_per_engine == 1 and engine.engines <= ranks.ranks):
        raise ValueError(
            "engine.colocate puts engines on the ranks' GPUs: set ranks.gpus_per_rank=1 engine.gpus_per_engine=1 and "
            f"engine.engines to at most ranks.ranks, {ranks.ranks}"
        )
    if ranks.transport not in ("auto", "file") and ranks.weights_dir is not None:
        raise ValueError(f"ranks.weights_dir does nothing with ranks.transport={ranks.transport}; set one of the two")
    if config.sft.checkpoint_every < 1:
        raise ValueError(f"sft.checkpoint_every must be at least 1, not {config.sft.checkpoint_every}")
    if config.engine.lora_rank and set(lora.targets) - set(LoraConfig().targets):
        raise ValueError(
            "engine.lora_rank takes adapters on the language model alone; leave the other names out of "
            "ranks.lora.targets, or set engine.lora_rank=0 to publish merged weights"
        )
