"""The plan on the screen, and the refusal before anything is started."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import videoseeker
from configs import load_config
from learner.planning.advice import PlanError
from recipes import preflight
from recipes.phases import run_cold_start, run_train
from recipes.preflight import require_room
from tests.servers.processes import ROOT

TOO_SMALL = ["model.path=Qwen/Qwen3-VL-8B-Instruct", "ranks.gpu_memory_gib=24"]


@pytest.mark.process
def test_a_dry_run_tells_the_plan_in_comments(tmp_path: Path) -> None:
    # In a process of its own, to whose output a Ray of other tests adds nothing.
    command = ["videoseeker.py", "train", "configs/paper_4b.yaml", "--dry-run", "ranks.gpu_memory_gib=80"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    dump = tmp_path / "dump.yaml"
    dump.write_text(printed)
    assert load_config(dump) == load_config("configs/paper_4b.yaml", ["ranks.gpu_memory_gib=80"])
    plan = printed.partition("# plan\n")[2]
    assert "Qwen/Qwen3-VL-4B-Instruct, 4,437,815,808 parameters" in plan
    assert "GPUs: 8 of 80.0 GiB" in plan
    assert "grpo: 128 x 256 trajectories of at most 9,437,184 tokens" in plan


def test_a_dry_run_of_what_cannot_fit_prints_the_plan_and_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["sft", "configs/paper_4b.yaml", "--dry-run", f"runs_dir={tmp_path / 'runs'}", *TOO_SMALL]
    assert videoseeker.main(arguments) == 2
    said = capsys.readouterr()
    assert "a learner rank" in said.out
    assert "it fits with" in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("run", [run_cold_start, run_train])
def test_a_run_that_cannot_fit_is_refused_before_it_makes_anything(run: Any, tmp_path: Path) -> None:
    config = load_config("configs/paper_4b.yaml", [f"runs_dir={tmp_path / 'runs'}", *TOO_SMALL])
    with pytest.raises(PlanError, match="a learner rank on a GPU needs"):
        run(config)
    assert not (tmp_path / "runs").exists()


def test_what_runs_on_the_cpu_asks_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(preflight, "start_ray")
    config = load_config("configs/smoke.yaml", [f"runs_dir={tmp_path}"])
    require_room(config, "grpo")


def test_epochs_are_told_once_the_tasks_are_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = tmp_path / "smoke" / "data"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_text("{}\n" * 8)
    assert videoseeker.main(["train", "configs/smoke.yaml", "--dry-run", f"runs_dir={tmp_path}"]) == 0
    assert "0.25 epochs" in capsys.readouterr().out
