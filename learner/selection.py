"""From played groups to what one update eats: uniform and stale groups left out, rewards shaped, advantages taken.

Pure functions. Invariant: advantages are taken over whole groups, and a batch holds no token older than the staleness
bound.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from actors.rollout.groups import PlayedGroup
from configs.training import GrpoConfig
from env.looks import SeekingScores, Sought
from env.trajectory import REWARD_PARTS, Trajectory
from learner.objective.advantages import group_advantages, is_overlong, length_penalty

Verdict = Literal["teaches", "uniform", "stale", "overlong"]
"""What becomes of a group; one whose trajectories were all cut off has nothing left where `mask_overlong` is set."""


@dataclass(frozen=True)
class Sifted:
    """The groups that teach, and how many do not."""

    groups: tuple[PlayedGroup, ...]
    uniform: int
    stale: int

    @property
    def trajectories(self) -> list[Trajectory]:
        """The trajectories of all groups, those of one task next to each other."""
        return [trajectory for group in self.groups for trajectory in group.trajectories]


@dataclass(frozen=True)
class TrainingBatch:
    """Trajectories with their advantages, and what was left out."""

    trajectories: tuple[Trajectory, ...]
    advantages: tuple[float, ...]
    groups: int
    uniform_groups: int
    stale_groups: int
    masked_trajectories: int
    """Cut off at their limit and left out of the loss."""
    kl: float | None
    """Mean KL(pi_old || pi_ref) of a sampled token, nats, where it was taken off the rewards."""
    staleness: tuple[int, ...]
    """For each trajectory the learner's version minus that of its oldest sampled token."""

    def metrics(self) -> dict[str, float]:
        """How many groups and trajectories it has and lacks, and how stale they are."""
        return {
            "groups": float(self.groups),
            "uniform_groups": float(self.uniform_groups),
            "stale_groups": float(self.stale_groups),
            "masked_trajectories": float(self.masked_trajectories),
            "staleness_mean": _mean(self.staleness),
            "staleness_max": float(max(self.staleness, default=0)),
            **({} if self.kl is None else {"kl": self.kl}),
        }


def judge_group(group: PlayedGroup, version: int, config: GrpoConfig, max_tokens: int) -> Verdict:
    """Judge whether the learner at `version` can learn from a group; `max_tokens` are the most of an episode."""
    rewards = shaped_rewards(group, config, max_tokens)
    if config.drop_uniform_groups and max(rewards) == min(rewards):
        return "uniform"
    if is_stale(group, version, config.max_staleness):
        return "stale"
    if config.mask_overlong and all(map(is_overlong, group.trajectories)):
        return "overlong"
    return "teaches"


def is_stale(group: PlayedGroup, version: int, max_staleness: int) -> bool:
    """Judge whether a group has a token that is too old for the learner at `version`."""
    return max(staleness(trajectory, version) for trajectory in group.trajectories) > max_staleness


def shaped_rewards(group: PlayedGroup, config: GrpoConfig, max_tokens: int) -> list[float]:
    """Return the rewards of a group less what their lengths cost."""
    return [
        t.rewards.total + config.overlong_penalty * length_penalty(t, max_tokens, config.overlong_buffer)
        for t in group.trajectories
    ]


def sift(groups: Sequence[PlayedGroup], version: int, config: GrpoConfig, max_tokens: int) -> Sifted:
    """Choose the groups that the learner at `version` updates on."""
    verdicts = [judge_group(group, version, config, max_tokens) for group in groups]
    teaching = tuple(group for group, verdict in zip(groups, verdicts, strict=True) if verdict == "teaches")
    return Sifted(teaching, verdicts.count("uniform"), verdicts.count("stale"))


def cut_batch(
    sifted: Sifted, version: int, config: GrpoConfig, max_tokens: int, kl: Sequence[float] | None = None
) -> TrainingBatch:
    """Cut the batch that the learner at `version` updates on. Where the KL is no term of the loss, `kl` is for each of
    `sifted.trajectories` its estimate of KL(pi_old || pi_ref), summed over its tokens, of which `config.kl_coef` times
    is taken off its reward."""
    trajectories: list[Trajectory] = []
    advantages: list[float] = []
    costs = iter(kl) if kl is not None else None
    for group in sifted.groups:
        rewards = shaped_rewards(group, config, max_tokens)
        if costs is not None:
            rewards = [reward - config.kl_coef * next(costs) for reward in rewards]
        scored = torch.tensor([rewards], dtype=torch.float64)
        advantages += group_advantages(scored, config.advantage_eps, config.advantage)[0].tolist()
        trajectories += group.trajectories
    sampled = sum(trajectory.transcript.sampled_tokens for trajectory in trajectories)
    kept = [i for i, trajectory in enumerate(trajectories) if not (config.mask_overlong and is_overlong(trajectory))]
    return TrainingBatch(
        trajectories=tuple(trajectories[i] for i in kept),
        advantages=tuple(advantages[i] for i in kept),
        groups=len(sifted.groups),
        uniform_groups=sifted.uniform,
        stale_groups=sifted.stale,
        masked_trajectories=len(trajectories) - len(kept),
        kl=sum(kl) / max(1, sampled) if kl and kept else None,
        staleness=tuple(staleness(trajectories[i], version) for i in kept),
    )


def staleness(trajectory: Trajectory, version: int) -> int:
    """Count the training steps between a trajectory's oldest sampled token and the learner; 0 if it has none."""
    sampled = [v for v, mask in zip(trajectory.transcript.versions, trajectory.transcript.sampled, strict=True) if mask]
    return version - min(sampled) if sampled else 0


def rollout_metrics(groups: Sequence[PlayedGroup]) -> dict[str, float]:
    """Describe the rollouts of a step in figures, means over trajectories unless stated otherwise.

    `tool_error_rate` is per call and `parse_rate`, the share of well-formed turns, per turn. `judge_seconds` is over
    the answers that a judge was asked about, of which `judged` is the share.
    """
    played = [trajectory for group in groups for trajectory in group.trajectories]
    calls = [call for trajectory in played for call in trajectory.calls]
    turns = [turn for trajectory in played for turn in trajectory.turns]
    waited = [trajectory.judge_s for trajectory in played if trajectory.judge_s]
    sought = SeekingScores.of([one for trajectory in played if (one := Sought.of(trajectory))])
    return {
        **(sought.metrics() if sought else {}),
        "reward": _mean(t.rewards.total for t in played),
        "accuracy": _mean(t.rewards.accuracy for t in played),
        "format_reward": _mean(t.rewards.format for t in played),
        "parsimony_reward": _mean(t.rewards.parsimony for t in played),
        "evidence_reward": _mean(t.rewards.evidence for t in played),
        "reward_std_in_group": _mean(np.std([t.rewards.total for t in g.trajectories]) for g in groups),
        **{
            f"{part}_std_in_group": _mean(np.std([getattr(t.rewards, part) for t in g.trajectories]) for g in groups)
            for part in REWARD_PARTS
        },
        "answered": _mean(t.answer is not None for t in played),
        "tool_calls": len(calls) / max(1, len(played)),
        "tool_error_rate": _mean(not call.ok for call in calls),
        "parse_rate": _mean(turn.parsed.error is None for turn in turns),
        "turns": len(turns) / max(1, len(played)),
        "response_tokens": _mean(t.transcript.sampled_tokens for t in played),
        "episode_tokens": _mean(len(t.transcript.ids) for t in played),
        "length_stops": _mean(t.stop == "length" for t in played),
        "timeout_stops": _mean(t.stop == "timeout" for t in played),
        "episode_seconds": _mean(t.seconds for t in played),
        **({"judge_seconds": _mean(waited), "judged": len(waited) / len(played)} if waited else {}),
    }


def _mean(values: Iterable[float | np.floating]) -> float:
    numbers = [float(value) for value in values]
    return float(np.mean(numbers)) if numbers else 0.0
