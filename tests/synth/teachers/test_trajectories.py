"""The teacher's lessons: kept as they come, and a task that cannot be played costs itself alone."""

import dataclasses
from pathlib import Path

import pytest

from configs import Config
from env.lessons import Lessons, is_complete, is_shard, shard_file
from env.task import Task
from synth.errors import SynthError
from synth.teachers import trajectories
from synth.teachers.scripted import corpus
from synth.teachers.trajectories import caption, teach
from tests.models.tiny import build_tiny_model
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.process
SHARD = 4


@pytest.fixture(scope="module")
def model_dir(small_data: tuple[Path, list[Task]], config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = corpus(small_data[1], config.world)
    shared_ray()
    return build_tiny_model(config.model.tiny, texts, tmp_path_factory.mktemp("model"), 0)


@pytest.fixture
def tasks(small_data: tuple[Path, list[Task]]) -> list[Task]:
    return small_data[1]


def without_times(folder: Path) -> list[dict]:
    lessons = [lesson.to_dict() for lesson in Lessons(folder)]
    for lesson in lessons:
        lesson["seconds"] = 0.0
        for call in lesson["calls"]:
            call["seconds"] = 0.0
    return lessons


def test_lessons_that_were_stopped_in_the_middle_go_on_and_are_the_same(
    config: Config, tasks: list[Task], model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectories, "BATCH", SHARD)
    many = [dataclasses.replace(task, id=f"{task.id}-{i}") for i in range(3) for task in tasks]
    assert list(teach(config, many, model_dir, tmp_path / "whole"))[-1] == len(many)
    assert all(lesson.rewards.accuracy == 1.0 for lesson in Lessons(tmp_path / "whole"))
    stopped = teach(config, many, model_dir, tmp_path / "parts")
    next(stopped)
    stopped.close()
    made = sorted((tmp_path / "parts").glob("*.arrow"))
    assert made
    if is_shard(tmp_path / "parts", -(-len(many) // SHARD) - 1):
        made.pop().unlink()  # the workers were as quick as the one that stopped them
    kept = {path: path.stat().st_mtime_ns for path in made}
    assert not is_complete(tmp_path / "parts")
    [*_, done] = teach(config, many, model_dir, tmp_path / "parts")
    assert done == len(many)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert without_times(tmp_path / "parts") == without_times(tmp_path / "whole")


def test_what_was_begun_with_other_settings_is_made_anew(
    config: Config, tasks: list[Task], model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectories, "BATCH", SHARD)
    begun = caption(config, tasks, model_dir, tmp_path)
    next(begun)
    begun.close()
    shard_file(tmp_path, 0).write_bytes(b"of other settings")
    list(caption(dataclasses.replace(config, seed=7), tasks, model_dir, tmp_path))
    made = Lessons(tmp_path)
    assert len(made) > len(tasks)
    assert list(caption(dataclasses.replace(config, seed=7), tasks, model_dir, tmp_path)) == []
    list(caption(dataclasses.replace(config, seed=8), tasks, model_dir, tmp_path))
    assert Lessons(tmp_path).digest != made.digest, "complete lessons of other settings are none of these"


def test_a_task_that_cannot_be_played_is_set_aside_alone(
    config: Config, tasks: list[Task], model_dir: Path, tmp_path: Path
) -> None:
    lost = dataclasses.replace(tasks[0], id="lost", video=str(tmp_path / "gone.mp4"))
    unknown = dataclasses.replace(tasks[1], id="unknown", facts={})
    list(teach(config, [lost, *tasks, unknown], model_dir, tmp_path / "some"))
    some = Lessons(tmp_path / "some")
    assert [task for task, _ in some.set_aside] == ["lost", "unknown"]
    assert "gone.mp4" in some.set_aside[0][1]
    list(teach(config, tasks, model_dir, tmp_path / "all"))
    assert without_times(tmp_path / "some") == without_times(tmp_path / "all")
    with pytest.raises(SynthError, match=r"no task could be played; the first, lost: VideoError: .*gone\.mp4"):
        list(teach(config, [lost, unknown], model_dir, tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    nobody = dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, tasks=0))
    with pytest.raises(SynthError, match="none of 0 tasks was answered right"):
        list(teach(nobody, tasks, model_dir, tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_only_so_many_tasks_as_the_config_says_are_played(
    config: Config, tasks: list[Task], model_dir: Path, tmp_path: Path
) -> None:
    few = dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, tasks=2))
    assert list(teach(few, tasks, model_dir, tmp_path)) == [2]
    assert {lesson.task_id for lesson in Lessons(tmp_path)} <= {task.id for task in tasks[:2]}
