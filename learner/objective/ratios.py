"""Ratios between the probabilities that two policies give to sampled tokens, and the divergences made of them.

Invariant: a ratio is the exponential of a log-ratio held within `MAX_LOG_RATIO` of zero, so none overflows and no
product of zero and infinity arises in a loss or its gradient.

Below, N is the number of sampled tokens at hand. The tokens of a trajectory are always at hand together.
"""

from typing import Literal

import torch

from configs.training import GrpoConfig

MAX_LOG_RATIO = 20.0
"""Nats; as verl does. Past it a ratio, here e^20, has no gradient."""


def ratio(logprobs: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """pi / pi_other of each token, [N]."""
    return (logprobs - other).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def sequence_mean(values: torch.Tensor, sequences: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """For each token [N] the mean of `values` [N] over its trajectory, which `sequences` [N] int64 tells and of which
    `lengths` [N] counts the sampled tokens; with gradient to all of them."""
    count = int(sequences.max()) + 1 if len(sequences) else 0
    return values.new_zeros(count).index_add(0, sequences, values)[sequences] / lengths


def kl_estimate(
    logprobs: torch.Tensor, other: torch.Tensor, estimator: Literal["k1", "k2", "k3"] = "k3"
) -> torch.Tensor:
    """KL(pi || pi_other), [N], of each token drawn from pi alone (Schulman, "Approximating KL divergence", 2020).

    With d = log pi - log pi_other: k1 = d is unbiased; k2 = d^2 / 2 is never negative and its gradient is, in
    expectation, that of the KL; k3 = exp(-d) + d - 1 is unbiased and never negative.
    """
    log_ratio = (other - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    if estimator == "k1":
        return -log_ratio
    if estimator == "k2":
        return log_ratio.square() / 2
    return log_ratio.exp() - log_ratio - 1


@torch.no_grad()
def correction_weights(
    old: torch.Tensor, sampler: torch.Tensor, sequences: torch.Tensor, lengths: torch.Tensor, config: GrpoConfig
) -> torch.Tensor:
    """w = pi_old / pi_engine, [N] without gradient, of each token or of its whole trajectory, within its bounds; all
    ones where `grpo.correction` is `none`. `old` and `sampler` [N] are the logarithms.

    Truncated importance sampling takes min(w, C) (Yao et al., "Your efficient RL framework secretly brings you
    off-policy RL training", 2025); masked importance sampling w 1[w <= C] (Liu et al., "When speed kills stability",
    2025), with a lower bound as well IcePop's (Ling team, 2025).
    """
    log_w = old - sampler
    if config.correction == "none":
        return torch.ones_like(log_w)
    if config.correction == "sequence":
        log_w = sequence_mean(log_w, sequences, lengths) * lengths
    w = log_w.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    beyond = config.correction_max if config.correction_beyond == "truncate" else 0.0
    return w.masked_fill(w > config.correction_max, beyond).masked_fill(w < config.correction_min, 0.0)


@torch.no_grad()
def within_gap(
    old: torch.Tensor, sampler: torch.Tensor, sequences: torch.Tensor, lengths: torch.Tensor, max_gap: float
) -> torch.Tensor:
    """[N] bool: the geometric mean of pi_old / pi_engine over the token's trajectory lies within e^-max_gap, e^max_gap.

    This is the geometric sequence mask of Liu et al. (2025), with bounds symmetric in the logarithm.
    """
    return sequence_mean(old - sampler, sequences, lengths).abs() <= max_gap
