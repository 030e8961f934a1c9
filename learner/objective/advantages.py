"""Rewards to advantages: what a trajectory's length costs, and its reward against its group's.

Pure functions. Invariant: a group whose rewards are all equal has advantages of exactly zero, whatever the kind.
"""

from typing import Literal

import torch

from env.trajectory import Trajectory

Advantage = Literal["standardized", "centred", "leave_one_out"]


def group_advantages(rewards: torch.Tensor, eps: float = 1e-6, kind: Advantage = "standardized") -> torch.Tensor:
    """A_i [groups, G] of each trajectory from the rewards r [groups, G]; exactly 0 where those of a group are equal.

    `standardized`: (r_i - mean(r)) / (std(r) + eps), the standard deviation over G (paper, Eq. 7).
    `centred`: r_i - mean(r) (Dr. GRPO, arXiv 2503.20783, section 3.2).
    `leave_one_out`: r_i - mean of the other G - 1 rewards (RLOO, arXiv 2402.14740).
    """
    r = rewards.double()
    advantages = r - r.mean(-1, keepdim=True)
    if kind == "standardized":
        advantages = advantages / (advantages.square().mean(-1, keepdim=True).sqrt() + eps)
    elif kind == "leave_one_out":
        size = r.shape[-1]
        advantages = advantages * (size / max(1, size - 1))
    uniform = r.amax(-1, keepdim=True) == r.amin(-1, keepdim=True)
    return advantages.masked_fill(uniform, 0.0).to(rewards.dtype)


def is_overlong(trajectory: Trajectory) -> bool:
    """Whether the episode was cut off because its tokens were spent."""
    return trajectory.stop == "length"


def length_penalty(trajectory: Trajectory, max_tokens: int, buffer: int) -> float:
    """The soft overlong punishment (DAPO, arXiv 2503.14476, Eq. 13), between -1 and 0.

    |y| are the trajectory's sampled tokens, L_max what could have been sampled beside all that it was shown, and
    L_cache the buffer: 0 up to L_max - L_cache, then linear, and -1 for a trajectory that was cut off. A buffer of 0
    punishes nothing; `max_tokens` are the most of an episode, those shown included.
    """
    if not buffer:
        return 0.0
    if is_overlong(trajectory):
        return -1.0
    sampled = trajectory.transcript.sampled_tokens
    l_max = max_tokens - (len(trajectory.transcript.ids) - sampled)
    return -min(1.0, max(0.0, (sampled - (l_max - buffer)) / buffer))
