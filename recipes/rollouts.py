"""Episodes of training steps, kept for people to look at: `rollouts/000012.arrow` has those of step 12.

Invariant: keeping them never ends a run; whole groups are kept, so that their episodes can be compared.
"""

import dataclasses
import logging
from pathlib import Path

from configs.run import TrackingConfig
from env.lessons import shard_file, write_shard
from env.trajectory import Trajectory
from learner.algorithm import GRPO

_log = logging.getLogger(__name__)


def keep_rollouts(config: TrackingConfig, folder: Path, step: int, algorithm: GRPO) -> None:
    """Keep groups of the step that was just taken, the first that fit, each episode with its advantage."""
    advantages = {
        id(trajectory.transcript): advantage
        for trajectory, advantage in zip(algorithm.batch.trajectories, algorithm.batch.advantages, strict=True)
    }
    kept: list[Trajectory] = []
    for group in algorithm.groups:
        if len(kept) + len(group.trajectories) <= config.rollouts_per_step:
            kept += [
                dataclasses.replace(episode, advantage=advantages.get(id(episode.transcript)))
                for episode in group.trajectories
            ]
    if not kept:
        return
    try:
        write_shard(folder, step, kept)
        _prune(folder, config.rollouts_mib * 2**20, shard_file(folder, step))
    except OSError as error:
        _log.warning("step %d: its episodes were not kept (%s)", step, error.strerror)


def _prune(folder: Path, most_bytes: int, newest: Path) -> None:
    files = sorted(folder.glob("*.arrow"))
    total = sum(file.stat().st_size for file in files)
    for file in files:
        if total > most_bytes and file != newest:
            total -= file.stat().st_size
            file.unlink()
