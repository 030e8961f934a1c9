"""Which settings of a GRPO run go together.

Invariant: a setting that would do nothing, or something else than it says, beside the others is refused before
anything starts.
"""

from configs.training import GrpoConfig


def require_consistent(config: GrpoConfig, has_reference: bool) -> None:
    """Check the settings of the objective against each other.

    Args:
        has_reference: whether there is a reference policy.

    Raises:
        ValueError: two of them contradict each other, or one is out of its range; names the keys and what to set.
    """
    for key in ("mini_batches", "group_size", "prompts_per_step", "norm_tokens", "max_prompt_batches"):
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
