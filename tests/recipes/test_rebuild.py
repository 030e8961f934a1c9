"""The driver's part of a training run: checkpoints on the way, from which it goes on after a failure."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.errors import EngineError, RolloutError
from configs import load_config
from env.trajectory import save_trajectories
from evals.evaluate import EvaluationError
from learner.activity import unwatched
from learner.checkpoints.folder import read_manifest
from learner.ranks.group import RanksError
from recipes import held_out
from recipes.folder import RunFolder
from recipes.phases import _optimize
from tests.films.sample_episode import make_episode


class Algorithm:
    """Counts its steps; its weights are the sum of the steps' numbers. Steps fail where `deaths` says, and the first
    rebuilds with `broken`."""

    def __init__(self, deaths: list[int], error: Exception | None = None, broken: Sequence[Exception] = ()) -> None:
        self.deaths, self.error, self.broken = list(deaths), error, list(broken)
        self.groups: list[Any] = []
        self.batch = SimpleNamespace(trajectories=(), advantages=())
        self.rebuilds = 0
        self.on_activity = unwatched
        self.training_iteration = self.weights = self.version = 0
        self.went_back_to: list[str | None] = []

    def train(self) -> dict[str, dict[str, float]]:
        step = self.training_iteration + 1
        if self.deaths and self.deaths[0] == step:
            self.deaths.pop(0)
            raise self.error or RanksError(f"grpo_step: rank 0 died in step {step}")
        self.training_iteration, self.weights = step, self.weights + step
        self.version = step
        return {"grpo": {"accuracy": 1.0 / step, "loss": float(self.weights)}}

    def players(self) -> None:
        """Whoever plays the held-out questions."""

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


def test_held_out_questions_are_asked_on_the_way_and_choose_the_best_checkpoint(
    train: Callable[..., Any], media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[int, int]] = []

    def evaluate_on(_: Any, version: int, config: Any, model: Path, tasks: Sequence[Any], out: Path) -> None:
        assert not out.exists()
        asked.append((version, len(tasks)))
        if version == 6 and len(asked) == 3:
            raise EvaluationError("question t1 could not be played")
        episode = make_episode(media)
        right = dataclasses.replace(episode.rewards, accuracy=1.0 if version == 4 else 0.0)
        save_trajectories(out, [dataclasses.replace(episode, rewards=right)])

    monkeypatch.setattr(held_out, "evaluate_on", evaluate_on)
    monkeypatch.setattr(held_out, "TaskFile", lambda _: ["t1", "t2", "t3"])
    algorithm = Algorithm(deaths=[7])
    settings = ["eval.every=2", "eval.questions_during=2", "grpo.best_metric=eval_accuracy", "grpo.keep_checkpoints=1"]
    folder = train(algorithm, *settings, "grpo.async_checkpoints=false")
    assert asked == [(2, 2), (4, 2), (6, 2)], "not after the last step, which is asked all questions"
    found = {row["step"]: row.get("eval_accuracy") for row in map(json.loads, folder.metrics.read_text().splitlines())}
    assert found == {1: None, 2: 0.0, 3: None, 4: 1.0, 5: None, 6: None, 7: None, 8: None}
    assert "step 6: the held-out questions could not be asked (question t1" in caplog.text
    assert sorted(path.name for path in folder.checkpoints.glob("step-*")) == ["step-000004", "step-000008"]
    assert sorted(path.name for path in folder.episodes("x").parent.iterdir()) == [
        "step-000002.jsonl",
        "step-000004.jsonl",
    ]
