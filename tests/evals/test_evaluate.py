"""An evaluation on real engines and runners: it loses nothing to their deaths, and goes on where it was ended."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import PlayedGroup
from actors.rollout.players import players
from configs import Config
from env.task import Task, load_tasks
from env.trajectory import Trajectory, load_trajectories
from evals.evaluate import EvaluationError, evaluate, evaluate_on
from learner.model.tiny import build_tiny_model
from tests.models.red_or_blue import BLUE, LOOK, RED, SIZES, shorten, write_tasks
from tests.servers.ray_session import shared_ray

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def config() -> Config:
    config = Config(seed=1)
    shorten(config)
    config.eval.episodes_in_flight = 2
    return config


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(SIZES, [LOOK, RED, BLUE] * 20, tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    return load_tasks(write_tasks(tmp_path_factory.mktemp("data") / "test.jsonl"))


@pytest.fixture(scope="module")
def dispatcher(config: Config, model_dir: Path) -> Iterator[Dispatcher]:
    shared_ray()
    with players(config, model_dir) as dispatcher:
        yield dispatcher


@pytest.fixture(scope="module")
def undisturbed(
    dispatcher: Dispatcher, config: Config, model_dir: Path, tasks: list[Task], tmp_path_factory: pytest.TempPathFactory
) -> list[Trajectory]:
    out = tmp_path_factory.mktemp("undisturbed") / "eval.jsonl"
    evaluate_on(dispatcher, 0, config, model_dir, tasks, out)
    return load_trajectories(out)


def written(episodes: list[Trajectory]) -> list[tuple[str, list[int], str | None]]:
    return [(episode.task_id, episode.transcript.ids, episode.answer) for episode in episodes]


def test_a_runner_and_an_engine_that_are_killed_cost_nothing(
    dispatcher: Dispatcher,
    config: Config,
    model_dir: Path,
    tasks: list[Task],
    undisturbed: list[Trajectory],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    victims = [
        lambda: dispatcher._engines.handles[0].actor.__ray_call__.remote(lambda _: os.getpid()),
        lambda: dispatcher._runners._worker_manager.actors()[1].apply.remote(lambda _: os.getpid()),
    ]
    collect = dispatcher.collect

    def kill_and_collect(version: int) -> list[PlayedGroup]:
        played = collect(version)
        if played and victims:
            os.kill(ray.get(victims.pop(0)(), timeout=60), signal.SIGKILL)
        return played

    monkeypatch.setattr(dispatcher, "collect", kill_and_collect)
    evaluate_on(dispatcher, 0, config, model_dir, tasks, tmp_path / "eval.jsonl")
    assert not victims
    assert dispatcher._runners.num_remote_worker_restarts() == 1
    assert written(load_trajectories(tmp_path / "eval.jsonl")) == written(undisturbed)


def test_a_question_that_cannot_be_played_ends_it_and_the_others_are_not_played_again(
    dispatcher: Dispatcher,
    config: Config,
    model_dir: Path,
    tasks: list[Task],
    undisturbed: list[Trajectory],
    tmp_path: Path,
) -> None:
    film, out = tmp_path / "film.mp4", tmp_path / "eval.jsonl"
    asked = [*tasks[:4], replace(tasks[4], video=str(film))]
    with pytest.raises(EvaluationError, match=r"question task-4 could not be played; .*film\.mp4"):
        evaluate_on(dispatcher, 0, config, model_dir, asked, out)
    assert not out.exists()
    dispatcher.settle(60.0)
    dispatcher.withdraw()
    [log] = tmp_path.glob("eval.jsonl.*.log")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    marked = [{**row, "episode": {**row["episode"], "answer": "from the log"}} for row in rows if row["question"] < 2]
    foreign = [{}, {"question": 3}, {"question": [3], "episode": {}}]
    log.write_text("".join(json.dumps(row) + "\n" for row in [*marked, *foreign]) + '{"question": 2, "torn')
    other = log.with_name("eval.jsonl.0123456789abcdef.log")
    other.write_text(json.dumps({**rows[0], "question": 3}) + "\n")
    shutil.copy(tasks[4].video, film)
    evaluate_on(dispatcher, 0, config, model_dir, asked, out)
    episodes = load_trajectories(out)
    assert [episode.answer for episode in episodes[:2]] == ["from the log"] * 2
    assert [ids for _, ids, _ in written(episodes)] == [ids for _, ids, _ in written(undisturbed)]
    assert not log.exists()
    assert other.exists(), "what others ask is theirs"


def test_only_so_many_questions_are_asked(config: Config, model_dir: Path, tasks: list[Task], tmp_path: Path) -> None:
    shared_ray()
    few = replace(config, eval=replace(config.eval, questions=2))
    evaluate(few, model_dir, tasks, tmp_path / "eval.jsonl")
    assert [episode.task_id for episode in load_trajectories(tmp_path / "eval.jsonl")] == ["task-0", "task-1"]
