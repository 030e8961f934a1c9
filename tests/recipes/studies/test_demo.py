"""The demo, whole: every stage with the real parts, in the size of `configs/smoke.yaml`."""

import json
from pathlib import Path

import pytest

from configs import ConfigError, load_config
from configs.training import StageConfig
from env.task import load_tasks
from env.trajectory import load_trajectories
from recipes.folder import RunFolder, with_arm
from recipes.studies.demo import run_demo
from storage.logs import whole_rows

ROOT = Path(__file__).resolve().parents[3]
FIGURES = {
    "wall_s",
    "peak_rss_gib",
    "heldout_questions",
    "seed",
    "accuracy",
    "accuracy_by_dimension",
    "tool_calls_per_episode",
    "tool_error_rate",
    "parse_rate",
    "mismatch_kl_max",
    "tokens_per_s",
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_goes_from_nothing_to_a_report(tmp_path: Path) -> None:
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    config = load_config(ROOT / "configs" / "smoke.yaml", [f"runs_dir={tmp_path}", store])
    page = run_demo(config)
    report = json.loads((tmp_path / "smoke" / "report.json").read_text())
    assert set(report) >= FIGURES
    assert report["heldout_questions"] == config.eval.questions
    assert set(report["accuracy"]) == {"no_tools", "sft", "grpo"}
    assert "<html" in page.read_text()
    both = RunFolder.of(with_arm(config, "both"))
    assert [row["step"] for row in whole_rows(both.metrics) if row["stage"] == "grpo"] == [1]
    played = load_trajectories(both.episodes("grpo"))
    assert [episode.task_id for episode in played] == [task.id for task in load_tasks(both.test)][: len(played)]


def test_settings_that_the_baseline_cannot_be_trained_with_are_refused_at_once(tmp_path: Path) -> None:
    config = load_config(ROOT / "configs" / "smoke.yaml", [f"runs_dir={tmp_path}"])
    config.sft.steps, config.sft.curriculum = 0, [StageConfig(steps=1, lessons={"exercise": 1})]
    with pytest.raises(ConfigError, match="exercises alone teach nothing without crop_video"):
        run_demo(config)
    assert not list(tmp_path.iterdir())
