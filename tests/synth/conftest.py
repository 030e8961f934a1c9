"""A small world on disk, made by the real pipeline's function for one video."""

from pathlib import Path

import pytest

from configs import Config, load_config
from env.task import Task
from synth.world.tasks import _make_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config(ROOT / "configs" / "demo.yaml")


@pytest.fixture(scope="session")
def small_data(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Task]]:
    """(folder, tasks) of two videos; the tasks' paths are absolute."""
    import dataclasses

    folder = tmp_path_factory.mktemp("data")
    for name in ("videos", "frames"):
        (folder / name).mkdir()
    tasks = []
    for index in range(2):
        for task in _make_video({"split": "train", "index": index}, config, folder)["tasks"]:
            marks = tuple(dataclasses.replace(mark, image=str(folder / mark.image)) for mark in task.visual_prompts)
            tasks.append(dataclasses.replace(task, video=str(folder / task.video), visual_prompts=marks))
    return folder, tasks
