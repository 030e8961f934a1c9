"""The RL set: tasks that a model gets neither always right nor always wrong."""

import dataclasses
import json
from pathlib import Path

import pytest

from configs import load_config
from configs.run import Config
from env.task import Task, TaskFile, load_tasks, save_tasks
from evals.evaluate import EvaluationError, identity
from recipes.data import run_synth
from recipes.difficulty import run_difficulty
from recipes.folder import RunFolder
from recipes.phases import first_model
from tools.marks.visual_prompt import VisualPrompt

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> tuple:
    """A run with five training tasks, and the attempts of a model at them."""
    config = load_config(None, [f"runs_dir={tmp_path}", "name=hard", "difficulty.attempts=2"])
    folder = RunFolder.of(config)
    mark = VisualPrompt(str(tmp_path / "mark.png"), 1.0, "point")
    tasks = [Task(f"t{i}", str(tmp_path / "v.mp4"), "What?", "red", "OA", (mark,)) for i in range(5)]
    save_tasks(folder.train, tasks)
    accuracies = [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    asked = identity(config, "m", config.sampling, TaskFile(folder.train))
    rows = [{"asked": asked, "task_id": f"t{i}", "accuracies": tries} for i, tries in enumerate(accuracies)]
    (folder.arm / "difficulty.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return config, folder


def test_tasks_that_are_always_right_or_always_wrong_are_left_out(
    folder: tuple[Config, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    config, made = folder
    assert run_difficulty(config, "m").rl == made.rl
    assert [task.id for task in load_tasks(made.rl)] == ["t1", "t3", "t4"]
    assert load_tasks(made.rl) == [task for task in load_tasks(made.train) if task.id in ("t1", "t3", "t4")]
    said = " ".join(capsys.readouterr().out.split())
    assert "pass@1 50.0 %, pass@2 80.0 %; always right 1, always wrong 1, too easy 0, too hard 0, kept 3" in said


def test_a_band_keeps_fewer(folder: tuple[Config, RunFolder]) -> None:
    config, _ = folder
    with pytest.raises(EvaluationError, match="is neither always right nor always wrong"):
        run_difficulty(dataclasses.replace(config, difficulty=dataclasses.replace(config.difficulty, high=0.5)), "m")


@pytest.mark.slow
def test_a_model_plays_what_it_has_not_played_as_often_as_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    overrides = [f"runs_dir={tmp_path}", "world.train_videos=2", "world.test_videos=1", "difficulty.attempts=3"]
    config = load_config(ROOT / "configs" / "smoke.yaml", [*overrides, "captions.steps=0"])
    try:
        folder = run_synth(config)
        model, tasks = first_model(config, folder), load_tasks(folder.train)
        lost = dataclasses.replace(tasks[0], id="lost", video=str(tmp_path / "gone.mp4"))
        save_tasks(folder.train, [lost, *tasks])
        asked = identity(config, model, config.sampling, TaskFile(folder.train))
        played = [{"asked": asked, "task_id": task.id, "accuracies": [0.0] * 3} for task in tasks[2:]]
        others = [{**played[0], "asked": "another"}, {**played[0], "accuracies": [1.0]}, {}]
        log = folder.arm / "difficulty.jsonl"
        log.write_text("".join(json.dumps(row) + "\n" for row in [*played, *others]) + '{"asked": "')
        with pytest.raises(EvaluationError, match="neither always right nor always wrong"):
            run_difficulty(config, model)
        rows = [json.loads(line) for line in log.read_text().splitlines()[-2:]]
        assert {row["task_id"] for row in rows} == {task.id for task in tasks[:2]}
        assert "1 tasks could not be played and are left out; the first, lost: VideoError: " in caplog.text
        assert [len(row["accuracies"]) for row in rows] == [3, 3]
    finally:
        ray.shutdown()
