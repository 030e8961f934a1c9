import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.run import Config
from env.judging.rules import judge
from env.task import Task, load_tasks
from synth.errors import SynthError
from synth.world.sampling import make_world
from synth.world.tasks import _make_video, make_tasks, question_of
from tests.servers.ray_session import shared_ray
from tools.decoding.video import open_video


def test_marked_frames_are_the_video_s_own_frames_with_a_mark(small_data: tuple[Path, list[Task]]) -> None:
    _, tasks = small_data
    for task in tasks:
        mark = task.visual_prompts[0]
        marked = np.asarray(Image.open(mark.image)).astype(int)
        (frame,) = open_video(task.video).frames_at([mark.known_time_s], 128 * 128, 32)
        assert frame.time_s == pytest.approx(mark.time_s)
        differs = np.abs(frame.pixels.astype(int) - marked).max(-1) > 60
        assert 0 < differs.mean() < 0.25


def test_choice_questions_have_the_right_letter(config: Config, tmp_path: Path) -> None:
    for name in ("videos", "frames"):
        (tmp_path / name).mkdir()
    world = dataclasses.replace(config.world, choice_fraction=1.0)
    made = _make_video({"split": "test", "index": 0}, dataclasses.replace(config, world=world), tmp_path)
    for task in made["tasks"]:
        assert task.form == "choice"
        assert judge(task, f"({task.answer})") == 1.0
        assert task.options is not None
        assert len(set(task.options)) == len(task.options) >= 2


def test_facts_bring_the_question_back(small_data: tuple[Path, list[Task]], config: Config) -> None:
    _, tasks = small_data
    for task in tasks:
        seed, question = question_of(task)
        assert question.text(make_world(seed, config.world), task.visual_prompts[0].kind) == task.question


@pytest.mark.slow
def test_the_pipeline_makes_the_same_folder_twice_with_disjoint_worlds(config: Config, tmp_path: Path) -> None:
    world = dataclasses.replace(config.world, train_videos=3, test_videos=2, min_duration_s=8, max_duration_s=12)
    small = dataclasses.replace(config, world=world)
    shared_ray()
    counts = [make_tasks(small, tmp_path / name) for name in ("a", "b")]
    (tmp_path / "c" / "videos" / "train-00001.mp4").mkdir(parents=True)
    with pytest.raises(SynthError, match=r"^train-00001: IsADirectoryError: "):
        make_tasks(small, tmp_path / "c")
    assert not list((tmp_path / "c").glob("*.jsonl"))
    assert counts[0] == counts[1]
    first, second = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    seeds = {split: {t.facts["seed"] for t in load_tasks(tmp_path / f"a/{split}.jsonl")} for split in ("train", "test")}
    assert not seeds["train"] & seeds["test"]
