"""The driver's part of a training run: checkpoints on the way, from which it goes on after a failure."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.errors import EngineError, RolloutError
from configs import load_config
from learner.activity import unwatched
from learner.checkpoints.folder import read_manifest
from learner.ranks.group import RanksError
from recipes.folder import RunFolder
from recipes.phases import _optimize


class Algorithm:
    """Counts its steps; its weights are the sum of the steps' numbers. Steps fail where `deaths` says, and the first
    rebuilds with `broken`."""

    def __init__(self, deaths: list[int], error: Exception | None = None, broken: Sequence[Exception] = ()) -> None:
        self.deaths, self.error, self.broken = list(deaths), error, list(broken)
        self.groups: list[Any] = []
        self.rebuilds = 0
        self.on_activity = unwatched
        self.training_iteration = self.weights = 0
        self.went_back_to: list[str | None] = []

    def train(self) -> dict[str, dict[str, float]]:
        step = self.training_iteration + 1
        if self.deaths and self.deaths[0] == step:
            self.deaths.pop(0)
            raise self.error or RanksError(f"grpo_step: rank 0 died in step {step}")
        self.training_iteration, self.weights = step, self.weights + step
        return {"grpo": {"accuracy": 1.0 / step, "loss": float(self.weights)}}

    def start_save(self, folder: Path) -> Callable[..., Any]:
        state = json.dumps([self.training_iteration, self.weights])
        return lambda: (folder / "state").write_text(state)

    def rebuild(self, checkpoint: Path | None) -> None:
        self.rebuilds += 1
        if self.broken:
            raise self.broken.pop(0)
        self.went_back_to.append(checkpoint.name if checkpoint else None)
        state = json.loads((checkpoint / "state").read_text()) if checkpoint else (0, 0)
        self.training_iteration, self.weights = state


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Any]:
    run_log: Any = SimpleNamespace(log=lambda *_: None, tag=lambda *_: None, episodes=lambda *_: None)

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
    assert "rank 0 died in step 6; the run goes on from step-000004" in caplog.text
    kept = sorted(path.name for path in folder.checkpoints.iterdir())
    assert kept == ["step-000002", "step-000006", "step-000008"], "the best, and the two newest"
    assert read_manifest(folder.checkpoints / "step-000006")["metrics"] == {
        "accuracy": pytest.approx((1 / 5 + 1 / 6) / 2)
    }


@pytest.mark.parametrize("error", [EngineError("engine: gone"), RolloutError("rollouts: late")], ids=["engine", "late"])
def test_engines_and_rollouts_that_fail_cost_no_more_than_ranks_do(
    train: Callable[..., Any], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = Algorithm([6], error, broken=[RanksError("load: rank 1 died")])
    folder = train(algorithm)
    assert algorithm.rebuilds == 2, "the one that failed was tried again"
    assert rows(folder) == [(step, step * (step + 1) / 2) for step in range(1, 9)]
    assert f"{error}; then, while it was mended: load: rank 1 died" in caplog.text


def test_failures_far_apart_do_not_add_up(train: Callable[..., Any]) -> None:
    algorithm = Algorithm([2, 4, 6, 8])
    train(algorithm, "grpo.max_rebuilds=1", "grpo.rebuild_window=2")
    assert algorithm.rebuilds == 4


@pytest.mark.parametrize(("refused", "deaths", "rebuilds"), [(False, [5] * 4, 3), (True, [5], 0)])
def test_ranks_that_go_on_dying_or_refuse_their_work_end_the_run(
    train: Callable[..., Any], refused: bool, deaths: list[int], rebuilds: int
) -> None:
    algorithm = Algorithm(deaths, RanksError("grpo_step: rank 0 raised", refused=refused))
    with pytest.raises(RanksError, match="rank 0 raised"):
        train(algorithm)
    assert algorithm.rebuilds == rebuilds
