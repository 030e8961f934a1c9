"""Group relative policy optimization (paper, Eq. 8) and the supervised loss, on tensors of sampled tokens.

Invariant: a loss is a *sum* over the tokens at hand divided by a count of the *whole* batch, so that adding up the
losses and gradients of any cut into micro-batches and ranks gives those of the batch in one piece. Metrics are sums
too (`*_max`: maxima), for the same reason; `merge` adds them up and `means` divides at the end.

Below, N is the number of sampled tokens at hand, V the size of the vocabulary and H the width of the model.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch.utils.checkpoint import checkpoint

LOGITS_PER_CHUNK = 2**26
"""Most logits that exist at once; 256 MiB in float32."""
TOKEN_KINDS = ("thought", "call", "answer")
"""What a sampled token is part of; its kind is an index into this."""


@dataclass(frozen=True)
class LossInputs:
    """One entry for each sampled token."""

    logprobs: torch.Tensor
    """[N] float32, log pi_theta(o_t), with gradient."""
    sampler_logprobs: torch.Tensor
    """[N] float32, log pi_old(o_t) as the engine reported it."""
    reference_logprobs: torch.Tensor | None
    """[N] float32, log pi_ref(o_t); None leaves the KL term out."""
    entropy: torch.Tensor
    """[N] float32, entropy of pi_theta at the token, without gradient."""
    advantages: torch.Tensor
    """[N] float32, A_i of the token's trajectory."""
    lengths: torch.Tensor
    """[N] float32, |o_i|: sampled tokens of the token's trajectory."""
    fresh: torch.Tensor
    """[N] bool: sampled by the very weights that the learner has now."""
    trajectories: int
    """Trajectories of the whole batch, over all micro-batches and ranks."""


def group_advantages(rewards: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """A_i = (r_i - mean(r)) / (std(r) + eps) within each group; exactly 0 where all rewards of a group are equal.

    Args:
        rewards: [groups, G].

    Returns:
        [groups, G], same type.
    """
    r = rewards.double()
    centred = r - r.mean(-1, keepdim=True)
    advantages = centred / (centred.square().mean(-1, keepdim=True).sqrt() + eps)
    uniform = r.amax(-1, keepdim=True) == r.amin(-1, keepdim=True)
    return advantages.masked_fill(uniform, 0.0).to(rewards.dtype)


def token_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    banned: torch.Tensor,
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target, and the entropy at it, as the sampler defines them.

    Args:
        hidden: [N, H], the last hidden state of the token before each target.
        targets: [N] int64.
        lm_head: maps [n, H] to logits [n, V]; called on chunks, whose logits are recomputed in the backward pass.
        banned: [V] bool, ids that the sampler never draws: they have no probability.
        temperature: of the sampler.

    Returns:
        (logprobs [N] float32 with gradient, entropy [N] float32 without).
    """
    rows = max(1, LOGITS_PER_CHUNK // len(banned))
    if len(targets) <= rows:
        return _chunk_logprobs(hidden, targets, lm_head, banned, temperature)
    chunks = [
        checkpoint(_chunk_logprobs, h, t, lm_head, banned, temperature, use_reentrant=False)
        for h, t in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat([logprobs for logprobs, _ in chunks]), torch.cat([entropy for _, entropy in chunks])


def _chunk_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    banned: torch.Tensor,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = lm_head(hidden).float() / temperature
    logprobs = logits.masked_fill(banned, -torch.inf).log_softmax(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs.masked_fill(banned, 0.0)).sum(-1)
    return logprobs.gather(-1, targets[:, None])[:, 0], entropy


def low_variance_kl(logprobs: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """k3 = pi_other / pi - log(pi_other / pi) - 1 of tokens drawn from pi: unbiased for KL(pi || pi_other), >= 0."""
    log_ratio = other - logprobs
    return log_ratio.exp() - log_ratio - 1


def grpo_loss(inputs: LossInputs, clip: float, kl_coef: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Paper, Eq. 8, negated: the mean over trajectories of the mean over their sampled tokens of

        -(min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) - beta k3(pi_theta || pi_ref)),  r = pi_theta / pi_old.

    Returns:
        (this part's share of the loss, sums for `means`).
    """
    r = (inputs.logprobs - inputs.sampler_logprobs).exp()
    a = inputs.advantages
    surrogate = torch.minimum(r * a, r.clamp(1 - clip, 1 + clip) * a)
    kl = torch.zeros_like(r)
    if inputs.reference_logprobs is not None:
        kl = low_variance_kl(inputs.logprobs, inputs.reference_logprobs)
    share = 1.0 / (inputs.lengths * inputs.trajectories)
    loss = -((surrogate - kl_coef * kl) * share).sum()
    with torch.no_grad():
        clipped = ((r > 1 + clip) & (a > 0)) | ((r < 1 - clip) & (a < 0))
        mismatch = low_variance_kl(inputs.sampler_logprobs, inputs.logprobs)[inputs.fresh]
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
    return loss, sums


def sft_loss(
    logprobs: torch.Tensor, entropy: torch.Tensor, kinds: torch.Tensor, tokens: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean negative log-likelihood of the sampled tokens.

    Args:
        logprobs: [N] float32, with gradient.
        entropy: [N] float32.
        kinds: [N] int64, index into `TOKEN_KINDS`.
        tokens: sampled tokens of the whole batch.

    Returns:
        (this part's share of the loss, sums for `means`).
    """
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
