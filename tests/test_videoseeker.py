"""The command line: what it prints, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import videoseeker
from configs import Config, ConfigError, load_config
from env.task import TaskError
from tests.configs.test_rules import CONTRADICTIONS
from tools.decoding.image import fit
from tools.decoding.video import VideoError

ROOT = Path(__file__).parent.parent
ABLATIONS = tuple(f"studies.ablations.{study}" for study in ("tools", "reward", "answers", "phases", "lessons"))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for the recipes' functions; keeps what they were called with, or raises what it is given."""
    calls: list[tuple[Any, ...]] = []

    class Study:
        calls: list[tuple[Any, ...]]
        error: BaseException | None = None

        def __getattr__(self, name: Any) -> Any:
            def run(*args: Any, **kwargs: Any) -> Any:
                calls.append((name, args, kwargs))
                if self.error is not None:
                    raise self.error
                return self

            return run

    study = Study()
    study.calls = calls
    for module in ("data", "phases", "difficulty", "studies.demo", *ABLATIONS):
        monkeypatch.setitem(sys.modules, f"recipes.{module}", study)
    return study


@pytest.mark.process
def test_help_is_quick_and_names_every_command() -> None:
    code = "import sys, videoseeker\nvideoseeker.main(['--help'])\nprint(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    for command in ("synth", "sft", "train", "eval", "export", "serve", "ask", "demo", "ablate", "replay"):
        assert f"\n  {command} " in done.stdout
    assert not {"'ray'", "'torch'", "'vllm'", "'transformers'"} & set(
        done.stdout.split("[")[-1].rstrip("]\n").split(", ")
    )


def test_a_dry_run_prints_the_resolved_config_and_runs_nothing(
    served: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert videoseeker.main(["train", "--dry-run", "grpo.steps=7"]) == 0
    dump = tmp_path / "dump.yaml"
    dump.write_text(capsys.readouterr().out)
    assert load_config(dump) == load_config(None, ["grpo.steps=7"])
    assert served.calls == []


def test_file_then_overrides_in_any_place(served: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: mine\ngrpo: {steps: 3}\n")
    assert videoseeker.main(["train", str(path), "grpo.steps=4", "--resume", "seed=9"]) == 0
    [(name, (config,), keywords)] = served.calls
    assert (name, keywords) == ("run_train", {"resume": True})
    assert (config.name, config.grpo.steps, config.seed) == ("mine", 4, 9)


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("synth", "run_synth"),
        ("sft", "run_cold_start"),
        ("ablate tools", "ablate_tools"),
        ("ablate reward", "ablate_reward"),
        ("ablate answers", "ablate_answers"),
        ("ablate phases", "ablate_phases"),
        ("ablate data", "ablate_data"),
        ("ablate teacher", "ablate_teacher"),
        ("demo", "run_demo"),
    ],
)
def test_each_command_calls_its_function_with_its_config(served: Any, command: Any, function: Any) -> None:
    assert videoseeker.main(command.split()) == 0
    [(name, (config,), _)] = served.calls
    assert name == function
    assert config == (load_config(videoseeker.DEMO) if command == "demo" else Config())


def test_a_checkpoint_brings_the_config_of_its_run(served: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: trained\n")
    policy = tmp_path / "both" / "policy"
    policy.mkdir(parents=True)
    (policy / "config.json").write_text("{}")
    assert videoseeker.main(["eval", str(policy.parent)]) == 0
    [(_, (config, model_dir), _)] = served.calls
    assert (config.name, model_dir) == ("trained", str(policy))


def test_a_folder_without_one_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert videoseeker.main(["eval", str(tmp_path)]) == 2
    for name in ("sft", "policy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert videoseeker.main(["eval", str(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("holds no model")
    assert said[1].endswith("holds several models (policy, sft); name one")


@pytest.mark.parametrize("kind", [ConfigError, TaskError, VideoError])
def test_an_error_of_a_room_is_one_sentence(
    served: Any, capsys: pytest.CaptureFixture[str], kind: type[Exception]
) -> None:
    served.error = kind("the file\nis not there")
    assert videoseeker.main(["train"]) == 2
    assert capsys.readouterr().err == "videoseeker: the file is not there\n"


def test_an_error_that_ray_brings_back_is_told_as_it_was(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from ray.exceptions import RayTaskError

    cause = VideoError("clip.mp4: is empty")
    served.error = RayTaskError("f", "Traceback (most recent call last)", cause).as_instanceof_cause()
    assert videoseeker.main(["train"]) == 2
    assert capsys.readouterr().err == "videoseeker: clip.mp4: is empty\n"


def test_a_full_disk_is_one_sentence(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left") as error:
        os.write(full, b"x")
    os.close(full)
    served.error = error.value
    assert videoseeker.main(["train"]) == 2
    served.error = RuntimeError(f"while serializing: {error.value}")
    assert videoseeker.main(["train"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "No space left on device" in first
    assert "No space left on device" in second


def test_a_plain_value_error_is_a_sentence_where_a_room_raised_it() -> None:
    with pytest.raises(ValueError, match="sizes must be positive") as ours:
        fit(0, 1, 1, 1)
    assert videoseeker._our_error(ours.value) is ours.value
    with pytest.raises(ValueError, match="invalid literal") as foreign:
        int("x")
    assert videoseeker._our_error(foreign.value) is None


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("another")])
def test_what_no_room_foresaw_keeps_its_traceback(served: Any, error: Any) -> None:
    served.error = error
    with pytest.raises(type(error)):
        videoseeker.main(["train"])


def test_traceback_shows_where_an_error_came_from(served: Any) -> None:
    served.error = TaskError("wrong")
    with pytest.raises(TaskError):
        videoseeker.main(["train", "--traceback"])


def test_ctrl_c_is_130_and_shuts_ray_down(
    served: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ray:
        running = True

        def is_initialized(self) -> Any:
            return self.running

        def shutdown(self) -> None:
            self.running = False

    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    served.error = KeyboardInterrupt()
    assert videoseeker.main(["train"]) == 130
    assert not ray.running
    assert capsys.readouterr().err == "videoseeker: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "grpo.step=3"], "unknown key 'grpo.step'; did you mean 'grpo.steps'"),
        (["train", "nowhere.yaml"], "nowhere.yaml: no such config file"),
        (["train", "a.yaml", "b.yaml"], "one config file at most, not a.yaml and b.yaml"),
        (["replay", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["export", "nowhere", "out"], "nowhere: is not a whole checkpoint"),
        (["ask", "--video", "v", "--mark", "blob:t=1", "?"], "no kind 'blob'"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert videoseeker.main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Usage: videoseeker"),
        (["train", "--bogus"], "No such option '--bogus'"),
        (["replay", "a", "b=1"], "unexpected extra argument (b=1)"),
        (["paint"], "No such command 'paint'"),
        (["eval"], "Missing argument 'CHECKPOINT'"),
        (["synth", "inspect"], "Missing argument 'FOLDER'"),
        (["tools", "serve"], "Missing option '--video'"),
    ],
)
def test_words_that_are_no_command_are_refused_with_how_it_is_used(
    arguments: Any, sentence: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert videoseeker.main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_synth_takes_a_config_as_it_is_or_shows_a_folder(
    served: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for arguments in (["synth", "seed=3"], ["synth", "make", "seed=3"], ["synth", "--traceback", "seed=3"]):
        assert videoseeker.main(arguments) == 0
        [(name, (config,), _)] = served.calls
        assert (name, config.seed) == ("run_synth", 3)
        served.calls.clear()
    assert videoseeker.main(["synth", "inspect", str(tmp_path)]) == 2, "there is nothing to show"


def test_a_shell_completes_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {
        "_VIDEOSEEKER_COMPLETE": "bash_complete",
        "COMP_WORDS": "videoseeker abl",
        "COMP_CWORD": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert videoseeker.main([]) == 0
    assert capsys.readouterr().out == "plain,ablate\n"


COMMANDS = {
    "ranks": ["train"],
    "ablation": ["ablate", "answers"],
    "grpo": ["train"],
    "difficulty": ["difficulty", "m"],
    "eval": ["eval", "m"],
}
"""The command of a phase, where it has another name or takes a model."""


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("phase", "overrides", "sentence"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused_before_anything_is_written(
    phase: Any,
    overrides: Any,
    sentence: Any,
    dry_run: Any,
    served: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    command = COMMANDS.get(phase, ["serve", "m"] if phase == "serve" else [phase])
    arguments = [*command, f"runs_dir={tmp_path}/runs", *overrides, *(["--dry-run"] if dry_run else [])]
    assert videoseeker.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert served.calls == []
    assert not (tmp_path / "runs").exists()
