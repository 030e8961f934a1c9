"""When the held-out questions of a training run are asked, and by what: its own engines, or fresh ones."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs import Config, load_config
from env.task import Task, save_tasks
from env.trajectory import save_trajectories
from recipes import phases
from recipes.folder import RunFolder, RunFolderError
from tests.films.sample_episode import make_episode
from tools.marks.visual_prompt import VisualPrompt


class Events:
    """What a run did, in order; `ends_at` raises there once."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ends_at: str | None = None

    def __call__(self, event: str) -> None:
        self.seen.append(event)
        if event == self.ends_at:
            self.ends_at = None
            raise RuntimeError(event)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = load_config(None, [f"runs_dir={tmp_path}", "name=run"])
    folder = RunFolder.of(config)
    save_tasks(folder.test, [Task("t", "v.mp4", "?", "red", "OA", (VisualPrompt("m.png", 1.0, "point"),))])
    folder.sft.mkdir()
    folder.metrics.touch()
    return config


@pytest.fixture
def events(config: Config, media: Path, monkeypatch: pytest.MonkeyPatch) -> Events:
    events, folder = Events(), RunFolder.of(config)

    def export(path: Path) -> None:
        path.mkdir()
        events("export")

    algorithm = SimpleNamespace(
        version=0,
        training_iteration=0,
        ranks=SimpleNamespace(export=export),
        players=lambda: "the run's own",
        stop=lambda: events("stop"),
    )

    def optimize(*_: object) -> None:
        events("optimize")
        algorithm.version = 3

    def play(what: str, model: Path, out: Path) -> None:
        events(f"{what} play {Path(model).name}")
        save_trajectories(out, [make_episode(media)])

    def evaluate(config: Config, model: Path, tasks: Sequence[Task], out: Path) -> None:
        play("fresh engines", model, out)

    def evaluate_on(players: str, version: int, config: Config, model: Path, tasks: Sequence[Task], out: Path) -> None:
        play(f"{players} of version {version}", model, out)

    settings = SimpleNamespace(grpo=lambda **_: SimpleNamespace(build_algo=lambda: algorithm))
    stand_ins: dict[str, Callable[..., Any]] = {
        "require_room": lambda *_: None,
        "run_synth": lambda config: folder,
        "run_cold_start": lambda config: folder,
        "start_ray": lambda config: None,
        "GRPOConfig": lambda: settings,
        "RunLog": lambda *_, **__: nullcontext(),
        "_optimize": optimize,
        "evaluate": evaluate,
        "evaluate_on": evaluate_on,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(phases, name, stand_in)
    return events


WHOLE = [
    "the run's own of version 0 play sft",
    "optimize",
    "export",
    "the run's own of version 3 play policy",
    "stop",
]


def test_the_policy_is_written_before_its_questions_are_asked(config: Config, events: Events) -> None:
    phases.run_train(config)
    assert events.seen == WHOLE
    events.seen.clear()
    phases.run_train(config, resume=True)
    assert events.seen == []


def test_a_run_that_ended_at_its_last_questions_has_nothing_else_to_do(config: Config, events: Events) -> None:
    events.ends_at = WHOLE[3]
    with pytest.raises(RuntimeError, match=WHOLE[3]):
        phases.run_train(config)
    assert RunFolder.of(config).policy.exists()
    events.seen.clear()
    phases.run_train(config, resume=True)
    assert events.seen == ["fresh engines play policy"]
    events.seen.clear()
    phases.run_train(config, resume=True)
    assert events.seen == []


def test_questions_to_the_cold_start_that_were_never_answered_are_asked_by_fresh_engines(
    config: Config, events: Events
) -> None:
    phases.run_train(config)
    RunFolder.of(config).episodes("sft").unlink()
    events.seen.clear()
    phases.run_train(config, resume=True)
    assert events.seen == ["fresh engines play sft"]


def test_a_run_without_held_out_questions_is_refused_before_anything_is_learned(config: Config, events: Events) -> None:
    RunFolder.of(config).test.unlink()
    for command in (phases.run_train, lambda config: phases.run_eval(config, "model")):
        with pytest.raises(RunFolderError, match=r"holds no held-out question.*synth\.test_fraction"):
            command(config)
    assert events.seen == []


def test_a_finished_run_that_is_asked_for_other_steps_says_how_far_it_is(config: Config, events: Events) -> None:
    phases.run_train(config)
    folder = RunFolder.of(config)
    folder.metrics.write_text(json.dumps({"stage": "grpo", "step": config.grpo.steps - 1}) + "\n")
    events.seen.clear()
    with pytest.raises(RunFolderError, match=rf"GRPO ended at step {config.grpo.steps - 1}, and grpo\.steps is"):
        phases.run_train(config, resume=True)
    folder.policy.rmdir()
    phases.run_train(config, resume=True)
    assert "optimize" in events.seen
