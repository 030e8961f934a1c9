"""From played groups to what one update eats: advantages, uniform groups left out, stale ones swept.

Pure functions. Invariant: a batch holds only whole groups, and no token older than the staleness bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actors.groups import PlayedGroup
from configs.training import GrpoConfig
from env.transcript import Trajectory
from env.turn import parse_turn
from learner.grpo import group_advantages


@dataclass(frozen=True)
class TrainingBatch:
    """Trajectories with their advantages, and what was left out."""

    trajectories: tuple[Trajectory, ...]
    advantages: tuple[float, ...]
    groups: int
    uniform_groups: int
    stale_groups: int
    staleness: tuple[int, ...]
    """Of each trajectory: the learner's version minus that of its oldest sampled token."""


def cut_batch(groups: Sequence[PlayedGroup], version: int, config: GrpoConfig) -> TrainingBatch:
    """The batch that the learner at `version` updates on."""
    trajectories: list[Trajectory] = []
    advantages: list[float] = []
    kept = uniform = stale = 0
    for group in groups:
        rewards = [trajectory.rewards.total for trajectory in group.trajectories]
        if config.drop_uniform_groups and max(rewards) == min(rewards):
            uniform += 1
        elif max(staleness(trajectory, version) for trajectory in group.trajectories) > config.max_staleness:
            stale += 1
        else:
            kept += 1
            trajectories += group.trajectories
            scored = torch.tensor([rewards], dtype=torch.float64)
            advantages += group_advantages(scored, config.advantage_eps)[0].tolist()
    ages = tuple(staleness(trajectory, version) for trajectory in trajectories)
    return TrainingBatch(tuple(trajectories), tuple(advantages), kept, uniform, stale, ages)


def staleness(trajectory: Trajectory, version: int) -> int:
    """Optimizer steps between the trajectory's oldest sampled token and the learner; 0 if nothing was sampled."""
    sampled = [v for v, mask in zip(trajectory.transcript.versions, trajectory.transcript.sampled, strict=True) if mask]
    return version - min(sampled) if sampled else 0


def rollout_metrics(groups: Sequence[PlayedGroup]) -> dict[str, float]:
    """What the rollouts of a step were like, means over trajectories unless said otherwise.

    `tool_error_rate` is per call and `parse_rate`, the share of well-formed turns, per turn.
    """
    played = [trajectory for group in groups for trajectory in group.trajectories]
    calls = [call for trajectory in played for call in trajectory.calls]
    turns = [turn for trajectory in played for turn in trajectory.turns]
    return {
        "reward": _mean(t.rewards.total for t in played),
        "accuracy": _mean(t.rewards.accuracy for t in played),
        "format_reward": _mean(t.rewards.format for t in played),
        "parsimony_reward": _mean(t.rewards.parsimony for t in played),
        "reward_std_in_group": _mean(np.std([t.rewards.total for t in g.trajectories]) for g in groups),
        "answered": _mean(t.answer is not None for t in played),
        "tool_calls": len(calls) / max(1, len(played)),
        "tool_error_rate": _mean(not call.ok for call in calls),
        "parse_rate": _mean(parse_turn(turn.text).error is None for turn in turns),
        "turns": len(turns) / max(1, len(played)),
        "response_tokens": _mean(sum(t.transcript.sampled) for t in played),
        "episode_tokens": _mean(len(t.transcript.ids) for t in played),
        "length_stops": _mean(t.stop == "length" for t in played),
        "episode_seconds": _mean(t.seconds for t in played),
    }


def _mean(values: object) -> float:
    numbers = [float(value) for value in values]  # type: ignore[attr-defined]
    return float(np.mean(numbers)) if numbers else 0.0
