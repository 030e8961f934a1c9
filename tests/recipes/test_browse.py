"""Which files of a run are browsed, in which order, and what keeps rollouts."""

import dataclasses
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs.run import TrackingConfig
from env.lessons import lesson_in, lessons_in, write_shard
from env.task import Task
from env.trajectory import Trajectory, save_trajectories
from evals.answers import AnswerLog
from evals.pages.browser import RunEpisodes
from recipes.browse import serve_browser, sources_of, write_browser
from recipes.folder import RunFolderError
from recipes.rollouts import keep_rollouts
from tests.films.sample_episode import make_episode


@pytest.fixture
def episode(media: Path) -> Trajectory:
    return make_episode(media)


def test_a_run_is_browsed_in_the_order_of_its_training(tmp_path: Path, episode: Trajectory) -> None:
    arm = tmp_path / "mine" / "both"
    for name in ("grpo", "eval", "sft", "step-000002"):
        save_trajectories(arm / "episodes" / f"{name}.jsonl", [episode])
    for step in (10, 2):
        write_shard(arm / "rollouts", step, [episode])
    names = [
        "held out, after SFT",
        "training step 2",
        "held out, step 2",
        "training step 10",
        "held out, after GRPO",
        "held out, `videoseeker eval`",
    ]
    assert [source.name for source in sources_of(arm)] == names
    assert [source.name for source in sources_of(tmp_path / "mine")] == [f"both: {name}" for name in names]
    answers = AnswerLog(tmp_path / "mine" / "benchmarks" / "V2P-Bench" / "gpt" / "direct")
    answers.add(Task("q", "v.mp4", "?", "red", "OA", ()), episode)
    answers.fail(Task("r", "v.mp4", "?", "red", "OA", ()), "torn")
    assert sources_of(tmp_path / "mine")[-1].name == "V2P-Bench: gpt, direct"
    assert len(RunEpisodes(sources_of(tmp_path / "mine")[-1:]).entries) == 1
    assert [source.step for source in sources_of(arm)] == [None, 2, 2, 10, None, None]
    write_browser(arm, tmp_path / "page.html", 6)
    assert (tmp_path / "page.html").read_text().count("<template data-key=") == 6


@pytest.mark.parametrize("folder", ["none", "empty"])
def test_a_folder_without_episodes_is_told(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="holds no episodes; name the folder of a run"):
        sources_of(tmp_path / folder)


def test_a_port_that_is_taken_is_told(tmp_path: Path, episode: Trajectory) -> None:
    save_trajectories(tmp_path / "episodes" / "sft.jsonl", [episode])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunFolderError, match=f"port {port} of 127.0.0.1 cannot be listened on"):
            serve_browser(tmp_path, "127.0.0.1", port)


def algorithm(groups: list[list[Trajectory]], trained: list[Trajectory]) -> Any:
    batch = SimpleNamespace(trajectories=tuple(trained), advantages=tuple(float(i) for i in range(len(trained))))
    return SimpleNamespace(groups=[SimpleNamespace(trajectories=tuple(group)) for group in groups], batch=batch)


def copies(episode: Trajectory, task: str, count: int) -> list[Trajectory]:
    transcript = episode.transcript
    return [
        dataclasses.replace(episode, task_id=task, transcript=dataclasses.replace(transcript)) for _ in range(count)
    ]


def test_whole_groups_are_kept_with_their_advantages(tmp_path: Path, episode: Trajectory) -> None:
    a, b, c = (copies(episode, name, 2) for name in "abc")
    config = TrackingConfig(rollouts_per_step=5)
    keep_rollouts(config, tmp_path, 3, algorithm([a, b, c], trained=[*a, b[1]]))
    file = tmp_path / "000003.arrow"
    kept = [lesson_in(file, place) for place in range(lessons_in(file))]
    assert [(one.task_id, one.advantage) for one in kept] == [("a", 0.0), ("a", 1.0), ("b", None), ("b", 2.0)]
    keep_rollouts(dataclasses.replace(config, rollouts_per_step=0), tmp_path, 4, algorithm([a], a))
    assert not (tmp_path / "000004.arrow").exists()


def test_the_oldest_go_first_where_there_is_no_room(tmp_path: Path, episode: Trajectory) -> None:
    group = copies(episode, "a", 2)
    config = TrackingConfig(rollouts_mib=0)
    for step in (1, 2):
        keep_rollouts(config, tmp_path, step, algorithm([group], group))
    assert [path.name for path in tmp_path.glob("*.arrow")] == ["000002.arrow"]


def test_a_disk_that_is_full_ends_no_run(tmp_path: Path, episode: Trajectory, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    keep_rollouts(TrackingConfig(), tmp_path / "file", 1, algorithm([[episode]], [episode]))
    assert "step 1: its episodes were not kept" in caplog.text
