"""The driver's part of a training run: checkpoints on the way, and dead ranks replaced."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs import load_config
from learner.activity import unwatched
from learner.checkpoints.folder import read_manifest
from learner.ranks.group import RanksError
from recipes.folder import RunFolder
from recipes.phases import _optimize


class Algorithm:
    """Counts its steps; its weights are the sum of the steps' numbers. Ranks die where `deaths` says."""

    def __init__(self, deaths: list[int], refused: bool = False) -> None:
        self.deaths, self.refused = list(deaths), refused
        self.groups: list[Any] = []
        self.rebuilt_ranks = 0
        self.on_activity = unwatched
        self.training_iteration = self.weights = 0
        self.went_back_to: list[str | None] = []

    def train(self) -> dict[str, dict[str, float]]:
        step = self.training_iteration + 1
        if self.deaths and self.deaths[0] == step:
            self.deaths.pop(0)
            raise RanksError(f"grpo_step: rank 0 died in step {step}", refused=self.refused)
        self.training_iteration, self.weights = step, self.weights + step
        return {"grpo": {"accuracy": 1.0 / step, "loss": float(self.weights)}}

    def start_save(self, folder: Path) -> Callable[..., Any]:
        state = json.dumps([self.training_iteration, self.weights])
        return lambda: (folder / "state").write_text(state)

    def rebuild_ranks(self, checkpoint: Path | None) -> None:
        self.rebuilt_ranks += 1
        self.went_back_to.append(checkpoint.name if checkpoint else None)
        state = json.loads((checkpoint / "state").read_text()) if checkpoint else (0, 0)
        self.training_iteration, self.weights = state


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Any]:
    run_log: Any = SimpleNamespace(log=lambda *_: None, episodes=lambda *_: None)

    def run(algorithm: Any, *overrides: str) -> RunFolder:
        config = load_config(
            None, [f"runs_dir={tmp_path}", "grpo.steps=8", "grpo.checkpoint_every=2", "grpo.max_rebuilds=3", *overrides]
        )
        folder = RunFolder.of(config)
        folder.metrics.touch()
        _optimize(config, algorithm, folder, run_log)
        return folder

    return run


def rows(folder: RunFolder) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in map(json.loads, folder.metrics.read_text().splitlines())]


@pytest.mark.parametrize("how", ["true", "false"])
def test_ranks_that_die_cost_the_steps_since_the_newest_checkpoint_and_nothing_else(
    train: Callable[..., Any], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = Algorithm(deaths=[2, 6, 6])
    folder = train(algorithm, f"grpo.async_checkpoints={how}")
    assert algorithm.went_back_to == [None, "step-000004", "step-000004"]
    assert rows(folder) == [(step, step * (step + 1) / 2) for step in range(1, 9)]
    assert "rank 0 died in step 6; other ranks go on from step-000004" in caplog.text
    kept = sorted(path.name for path in folder.checkpoints.iterdir())
    assert kept == ["step-000002", "step-000006", "step-000008"], "the best, and the two newest"
    assert read_manifest(folder.checkpoints / "step-000006")["metrics"] == {
        "accuracy": pytest.approx((1 / 5 + 1 / 6) / 2)
    }


@pytest.mark.parametrize(("refused", "deaths", "rebuilt"), [(False, [5] * 4, 3), (True, [5], 0)])
def test_ranks_that_go_on_dying_or_refuse_their_work_end_the_run(
    train: Callable[..., Any], refused: bool, deaths: list[int], rebuilt: int
) -> None:
    algorithm = Algorithm(deaths, refused)
    with pytest.raises(RanksError, match="rank 0 died in step 5"):
        train(algorithm)
    assert algorithm.rebuilt_ranks == rebuilt
