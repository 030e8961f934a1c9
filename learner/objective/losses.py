"""The policy's objective, GRPO (paper, Eq. 8) and its relatives, and the supervised loss, on tensors of sampled tokens.

Invariant: a loss is a *sum* over the tokens at hand divided by a count of the *whole* batch, so that adding up the
losses and gradients of any cut into micro-batches and ranks gives those of the batch in one piece; only a trajectory is
never cut. Metrics are sums too (`*_max`: maxima), for the same reason; `merge` adds them up and `means` divides at the
end.

Below, N is the number of sampled tokens at hand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import torch

from configs.training import GrpoConfig
from learner.objective.ratios import correction_weights, kl_estimate, ratio, sequence_mean, within_gap

TOKEN_KINDS = ("thought", "call", "answer")
"""What a sampled token is part of; its kind is an index into this."""


@dataclass(frozen=True)
class LossInputs:
    """One entry for each sampled token."""

    logprobs: torch.Tensor
    """[N] float32, log pi_theta(o_t), with gradient."""
    old_logprobs: torch.Tensor
    """[N] float32, log pi_old(o_t), under the ratio."""
    sampler_logprobs: torch.Tensor
    """[N] float32, log pi_engine(o_t) as the engine reported it."""
    reference_logprobs: torch.Tensor | None
    """[N] float32, log pi_ref(o_t); None leaves the KL term out."""
    entropy: torch.Tensor
    """[N] float32, entropy of pi_theta at the token, with gradient if it is a term of the loss."""
    advantages: torch.Tensor
    """[N] float32, A_i of the token's trajectory."""
    lengths: torch.Tensor
    """[N] float32, |o_i|: sampled tokens of the token's trajectory."""
    sequences: torch.Tensor
    """[N] int64, i: the token's trajectory among those at hand."""
    fresh: torch.Tensor
    """[N] bool: sampled by the very weights that the learner has now."""
    trajectories: int
    """Trajectories of the whole batch, over all micro-batches and ranks."""
    tokens: int
    """Sampled tokens of the whole batch."""

    def only(self, kept: torch.Tensor) -> "LossInputs":
        """Return the entries of the tokens that are `kept`, [N] bool; the rest still counts below the fraction line."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: t[kept] for name, t in tensors.items() if isinstance(t, torch.Tensor)})


def policy_loss(inputs: LossInputs, config: GrpoConfig) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """This part's share of the loss, and sums for `means`: the objective that `config` chooses, negated, with tokens
    added up by `config.aggregation`, each

        w surrogate(r, A) - beta KL(pi_theta || pi_ref) + entropy_coef H(pi_theta),  r = pi_theta / pi_old,

    with w = 1 unless `config.correction` asks for pi_old / pi_engine, and w = 0 where H(pi_theta) is below
    `config.min_entropy`. The defaults are the paper's Eq. 8.
    """
    value, r, clipped = surrogate(inputs, config)
    extra: dict[str, torch.Tensor] = {}
    if config.correction != "none":
        w = correction_weights(inputs.old_logprobs, inputs.sampler_logprobs, inputs.sequences, inputs.lengths, config)
        value = w * value
        extra |= {"correction": w.sum(), "correction_zero": (w == 0).sum()}
    if config.min_entropy:
        certain = inputs.entropy.detach() < config.min_entropy
        value = value.masked_fill(certain, 0.0)
        extra["certain"] = certain.sum()
    kl = torch.zeros_like(r)
    if inputs.reference_logprobs is not None:
        kl = kl_estimate(inputs.logprobs, inputs.reference_logprobs, config.kl_estimator)
        value = value - config.kl_coef * kl
    if config.entropy_coef:
        value = value + config.entropy_coef * inputs.entropy
    if config.max_sequence_gap is not None:
        kept = within_gap(
            inputs.old_logprobs, inputs.sampler_logprobs, inputs.sequences, inputs.lengths, config.max_sequence_gap
        )
        value = value.masked_fill(~kept, 0.0)
        extra["gap_masked"] = (~kept).sum()
    loss = -(value * token_shares(inputs, config)).sum()
    with torch.no_grad():
        mismatch = kl_estimate(inputs.sampler_logprobs, inputs.logprobs)[inputs.fresh]
        sums = {
            "loss": loss.detach(),
            "tokens": _count(r),
            "kl": kl.sum(),
            "entropy": inputs.entropy.sum(),
            "clip_fraction": clipped.sum(),
            "ratio": r.sum(),
            "ratio_max": r.max() if len(r) else r.new_zeros(()),
            "mismatch_kl": mismatch.sum(),
            "mismatch_tokens": _count(mismatch),
        }
    return loss, {**sums, **extra}


def surrogate(inputs: LossInputs, config: GrpoConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is maximized for each token, before its weight: (surrogate [N] with gradient, ratio [N], and [N] bool: the
    clip stops the gradient or, in `cispo`, bounds it).

    `clip`: min(r A, clip(r, 1 - epsilon_low, 1 + epsilon_high) A), at least c A for A < 0 with a dual clip c.
    `gspo`: the same with s_i = exp(mean_t log r_t) for r; its gradient is s_i A_i mean_t grad log pi_theta(o_t)
    (arXiv 2507.18071, Eq. 10).
    `cispo`: sg(clip(r, 1 - epsilon_low, 1 + epsilon_high)) A log pi_theta (arXiv 2506.13585, Eq. 4).
    `reinforce`: r A, whose gradient is r A grad log pi_theta.
    """
    a = inputs.advantages
    low, high = 1 - config.clip, 1 + (config.clip if config.clip_high is None else config.clip_high)
    if config.surrogate == "gspo":
        log_r = inputs.logprobs - inputs.old_logprobs
        log_s = sequence_mean(log_r, inputs.sequences, inputs.lengths)
        r = ratio(log_s, torch.zeros_like(log_s))
    else:
        r = ratio(inputs.logprobs, inputs.old_logprobs)
    if config.surrogate == "reinforce":
        return r * a, r.detach(), torch.zeros_like(r, dtype=torch.bool)
    bounded = r.clamp(low, high)
    if config.surrogate == "cispo":
        return bounded.detach() * a * inputs.logprobs, r.detach(), ((r > high) | (r < low)) & (a != 0)
    value = torch.minimum(r * a, bounded * a)
    clipped = ((r > high) & (a > 0)) | ((r < low) & (a < 0))
    if config.dual_clip is not None:
        value = torch.where(a < 0, torch.maximum(value, config.dual_clip * a), value)
        clipped = clipped | ((r > config.dual_clip) & (a < 0))
    return value, r.detach(), clipped


def token_shares(inputs: LossInputs, config: GrpoConfig) -> torch.Tensor:
    """[N], each token's weight in the loss of the whole batch.

    `sequence_mean`: 1 / (|o_i| trajectories). `token_mean`: 1 / tokens. `token_sum_norm`: 1 / (L trajectories), L
    constant. What a mask leaves out still counts below the fraction line.
    """
    if config.aggregation == "sequence_mean":
        return 1.0 / (inputs.lengths * inputs.trajectories)
    if config.aggregation == "token_mean":
        return 1.0 / torch.full_like(inputs.lengths, inputs.tokens)
    return 1.0 / torch.full_like(inputs.lengths, config.norm_tokens * inputs.trajectories)


def sft_loss(
    logprobs: torch.Tensor, entropy: torch.Tensor, kinds: torch.Tensor, tokens: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean negative log-likelihood of sampled tokens, with `tokens` in the whole batch, from logprobs and entropy [N]
    float32 and kinds [N] int64, indices into `TOKEN_KINDS`. Returns this part's share of the loss, and sums for
    `means`."""
    loss = -logprobs.sum() / tokens
    with torch.no_grad():
        nll = torch.zeros(len(TOKEN_KINDS), dtype=logprobs.dtype, device=logprobs.device)
        nll.index_add_(0, kinds, -logprobs.detach())
        counts = torch.bincount(kinds, minlength=len(TOKEN_KINDS))
        sums = {"loss": loss.detach(), "tokens": _count(logprobs), "entropy": entropy.sum()}
        for i, kind in enumerate(TOKEN_KINDS):
            sums[f"nll_{kind}"], sums[f"tokens_{kind}"] = nll[i], counts[i]
    return loss, sums


def merge(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Sums of micro-batches or ranks, put together."""
    whole: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            if key.endswith("_max"):
                whole[key] = max(whole.get(key, value), value)
            else:
                whole[key] = whole.get(key, 0.0) + value
    return whole


def means(sums: dict[str, float]) -> dict[str, float]:
    """Metrics of a whole batch: each sum over the tokens it was taken over; 0 where there were none."""
    metrics = {}
    for key, value in sums.items():
        if key == "loss" or key.endswith("_max") or key.startswith("tokens") or key.endswith("_tokens"):
            metrics[key] = value
            continue
        kind = key.removeprefix("nll_")
        over = {"mismatch_kl": "mismatch_tokens"}.get(key, f"tokens_{kind}" if kind in TOKEN_KINDS else "tokens")
        metrics[key] = value / sums[over] if sums[over] else 0.0
    return metrics


def _count(values: torch.Tensor) -> torch.Tensor:
    return torch.tensor(float(len(values)))
