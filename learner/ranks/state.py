"""What a rank needs to go on exactly, model, optimizer and random state: to a checkpoint and back.

Invariant: a rank that loaded a state goes on bit for bit as the one that took it, if number of ranks and ZeRO stage are
the same; else within rounding.
"""

import random
from pathlib import Path

import numpy as np
import torch

from learner.checkpoints import convert
from learner.checkpoints.layout import TAG
from learner.ranks.deepspeed_policy import DeepSpeedPolicy


class RankState:
    """The state of one rank; every method is called on all ranks at once."""

    def __init__(self, policy: DeepSpeedPolicy, rank: int) -> None:
        self._policy, self._rank = policy, rank

    def host_snapshot(self, folder: str) -> None:
        """Copy the state to host memory, for `write` to put into `folder`."""
        self._policy.engine.save_checkpoint(folder, tag=TAG, save_latest=False)
        state = {
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),
            "python": random.getstate(),
            "cuda": None if self._policy.cpu else torch.cuda.get_rng_state(),
        }
        self._policy.snapshots.save(state, str(self._random_file(folder)))

    def write(self) -> None:
        """Write the snapshot; meanwhile this rank may train on."""
        self._policy.snapshots.write()

    def load(self, folder: str) -> None:
        """Load what `host_snapshot` and `write` saved; at ZeRO stage 0 also what another number of ranks saved."""
        self._load_engine(folder)
        self._load_random(folder)

    def convert(self, folder: str, out: str) -> None:
        """Make a universal checkpoint of what ranks wrote into `folder` (rank 0)."""
        if self._rank == 0:
            convert.convert(Path(folder) / TAG, Path(out) / TAG, self._policy.zero_stage)

    def load_universal(self, folder: str, converted: str) -> None:
        """Load what another number of ranks or another ZeRO stage saved, once it is converted."""
        engine, optimizer = self._policy.engine, self._policy.optimizer
        decays = [group["decays"] for group in optimizer.param_groups]
        engine._config.load_universal_checkpoint = True
        try:
            self._load_engine(converted)
        finally:
            engine._config.load_universal_checkpoint = False
        # ZeRO stage 3 (0.19.8) gives all groups the settings of the first, and one tensor to count their steps in.
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["decays"] = decay
        for state in optimizer.optimizer.state.values():
            state["step"] = state["step"].clone()
        self._load_random(folder)

    def _load_engine(self, folder: str) -> None:
        path, _ = self._policy.engine.load_checkpoint(folder, tag=TAG)
        if path is None:
            raise FileNotFoundError(f"{folder}: holds no learner state")

    def _load_random(self, folder: str) -> None:
        """Load the random state that this rank had; a rank that there was not keeps its own."""
        path = self._random_file(folder)
        if not path.exists():
            return
        state = torch.load(path, weights_only=False)
        torch.set_rng_state(state["torch"])
        np.random.set_state(state["numpy"])
        random.setstate(state["python"])
        if not self._policy.cpu:
            torch.cuda.set_rng_state(state["cuda"])

    def _random_file(self, folder: str) -> Path:
        return Path(folder) / f"random-{self._rank}.pt"
