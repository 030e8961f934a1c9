"""Logits to the log-probabilities of sampled tokens, and the entropy at them.

Invariant: the probabilities are those that the sampler drew from (its temperature, its banned ids), and never more
than `LOGITS_PER_CHUNK` logits exist at once, with gradient or without: a chunk's are recomputed in the backward pass.

Below, N is the number of sampled tokens at hand, V the size of the vocabulary and H the width of the model.
"""

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

LOGITS_PER_CHUNK = 2**26
"""Most logits that exist at once; 256 MiB in float32."""


def token_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    banned: torch.Tensor,
    temperature: float = 1.0,
    entropy_gradient: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target, and the entropy at it, as the sampler defines them.

    Args:
        hidden: [N, H], the last hidden state of the token before each target.
        targets: [N] int64.
        lm_head: maps [n, H] to logits [n, V]; called on chunks, whose logits are recomputed in the backward pass.
        banned: [V] bool, ids that the sampler never draws: they have no probability.
        temperature: of the sampler.
        entropy_gradient: whether the entropy is a term of the loss.

    Returns:
        (logprobs [N] float32 with gradient, entropy [N] float32, without unless asked for).
    """
    rows = max(1, LOGITS_PER_CHUNK // len(banned))
    if len(targets) <= rows:
        return _chunk_logprobs(hidden, targets, lm_head, banned, temperature, entropy_gradient)
    chunks = [
        checkpoint(_chunk_logprobs, h, t, lm_head, banned, temperature, entropy_gradient, use_reentrant=False)
        for h, t in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat([logprobs for logprobs, _ in chunks]), torch.cat([entropy for _, entropy in chunks])


def _chunk_logprobs(
    hidden: torch.Tensor,
    targets: torch.Tensor,
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    banned: torch.Tensor,
    temperature: float,
    entropy_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = lm_head(hidden).float() / temperature
    logprobs = logits.masked_fill(banned, -torch.inf).log_softmax(-1)
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = -(logprobs.exp() * logprobs.masked_fill(banned, 0.0)).sum(-1)
    return logprobs.gather(-1, targets[:, None])[:, 0], entropy
