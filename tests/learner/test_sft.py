"""The order of supervised batches and the learning rate's course."""

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Config
from configs.training import StageConfig
from env.lessons import Lessons, complete, write_shard
from env.trajectory import Trajectory
from learner.sft import WATCHED, batches, identity, learning_rate, left_of_stage, run_sft, staged, within_passes


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5))
def test_every_trajectory_is_seen_once_an_epoch(count: Any, size: Any, seed: int) -> None:
    drawn = [i for batch in islice(batches(count, size, seed), 2 * count) for i in batch]
    for epoch in range(len(drawn) // count):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_batches_follow_from_the_seed() -> None:
    first, again, other = ([*islice(batches(50, 8, seed), 9)] for seed in (1, 1, 2))
    assert first == again != other


def test_a_curriculum_takes_so_many_of_each_kind_and_each_once_before_any_again() -> None:
    kinds = ["a", "b", "b", "c", "b", "a", "b"]
    stages = [StageConfig(2, lessons={"b": 1}), StageConfig(3, lessons={"a": 1, "b": 2})]
    drawn = list(islice(staged(kinds, stages, 0), 7))
    assert [[kinds[i] for i in batch] for batch in drawn] == [["b"]] * 2 + [["a", "b", "b"]] * 5
    of_b = [i for batch in drawn for i in batch if kinds[i] == "b"]
    assert all(sorted(of_b[first : first + 4]) == [1, 2, 4, 6] for first in (0, 4, 8))
    assert drawn == list(islice(staged(kinds, stages, 0), 7)) != list(islice(staged(kinds, stages, 1), 7))


def test_a_curriculum_of_lessons_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="lessons of the kind 'd'; there are a, b"):
        staged(["b", "a"], [StageConfig(1, lessons={"a": 1}), StageConfig(1, lessons={"d": 1})], 0)


@pytest.mark.parametrize(
    ("step", "losses", "left"),
    [
        (20, [0.1] * WATCHED, 80),
        (20, [0.5] * WATCHED, 0),
        (19, [0.1] * (WATCHED - 1), 0),
        (99, [0.1] * WATCHED, 1),
        (100, [0.1] * WATCHED, 0),
        (130, [0.0] * WATCHED, 0),
        (30, [float("nan"), *[0.1] * (WATCHED - 1)], 0),
    ],
)
def test_a_stage_ends_where_its_losses_say_so(step: int, losses: list[float], left: int) -> None:
    stages = [StageConfig(100, 0.2, lessons={"a": 1}), StageConfig(50, lessons={"a": 1})]
    assert left_of_stage(stages, step, losses) == left


def test_a_stage_teaches_scarce_lessons_no_more_often_than_its_passes() -> None:
    stages = [
        StageConfig(100, passes=2.0, lessons={"a": 3, "b": 1}),
        StageConfig(100, lessons={"a": 3}),
        StageConfig(5, passes=2.0, lessons={"a": 3}),
        StageConfig(100, passes=0.1, lessons={"a": 3}),
        StageConfig(100, passes=3.0, lessons={"d": 3}),
    ]
    found = within_passes(stages, ["a"] * 21 + ["b"] * 9)
    assert [stage.steps for stage in found] == [14, 100, 5, 1, 1]
    assert [dataclasses.replace(stage, steps=100) for stage in found[:2]] == stages[:2]


def test_without_a_curriculum_all_steps_are_made() -> None:
    assert left_of_stage([], 30, [0.0] * WATCHED) == 0


def test_the_rate_rises_to_the_peak_and_falls_to_a_tenth() -> None:
    rates = [learning_rate(step, 100, 0.1, 2.0) for step in range(100)]
    assert rates.index(max(rates)) == 10
    assert max(rates) == 2.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0.2)


def test_a_single_step_has_a_rate() -> None:
    assert learning_rate(0, 1, 0.1, 1.0) == 1.0


def test_a_training_is_known_by_its_settings_its_model_and_its_lessons(
    trajectories: list[Trajectory], tmp_path: Path
) -> None:
    def stored(name: str, lessons: list[Trajectory]) -> Lessons:
        write_shard(tmp_path / name, 0, lessons)
        complete(tmp_path / name, 1)
        return Lessons(tmp_path / name)

    config, lessons = Config(), stored("a", trajectories)
    first = identity(config, lessons, "model")
    assert first == identity(config, stored("b", list(trajectories)), "model")
    config.sft.checkpoint_every = 7
    assert first == identity(config, lessons, "model")
    others = [identity(config, stored("c", trajectories[1:]), "model"), identity(config, lessons, "another")]
    config.sft.lr /= 2
    others.append(identity(config, lessons, "model"))
    assert len({first, *others}) == 4
    assert lessons.kinds() == [lesson.dimension for lesson in trajectories]


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trajectories"):
        run_sft(Config(), [], tmp_path, tmp_path / "out", lambda step, metrics: None)
