"""What a resumed stage keeps of its metrics, and where its alarms are told."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from configs.episode import RewardConfig
from recipes.metrics import MetricsLog, forget_rows


def test_steps_to_be_run_again_and_a_torn_line_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    forget_rows(path, "grpo", after=0)
    assert path.read_text() == ""
    rows = [{"stage": "sft", "step": 9}, *({"stage": "grpo", "step": step} for step in (1, 2, 3))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"stage": "grpo", "st')
    forget_rows(path, "grpo", after=2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows[:3]


class Told:
    """Takes what the run log is sent."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.tags: dict[str, str] = {}

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.metrics.append(metrics)

    def tag(self, key: str, value: str) -> None:
        self.tags[key] = value


def log(path: Path, told: Any) -> MetricsLog:
    return MetricsLog(path, "grpo", told, RewardConfig())


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_figure_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    path, told = tmp_path / "metrics.jsonl", Told()
    path.touch()
    log(path, told).write(1, {"kl": math.nan, "ratio_max": math.inf, "bad_updates": 1.0})
    assert rows(path) == [{"stage": "grpo", "step": 1, "bad_updates": 1.0, "alarms": 0.0}]
    assert told.metrics == [{"grpo/bad_updates": 1.0, "grpo/alarms": 0.0}]


def test_an_alarm_is_told_once_in_all_places_and_goes_on_after_a_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, told = tmp_path / "metrics.jsonl", Told()
    path.touch()
    first = log(path, told)
    for step in range(1, 10):
        first.write(step, {"tool_calls": 2.0 if step < 5 else 0.5})
    [row] = [row for row in rows(path) if "rang" in row]
    assert row["rang"] == [told.tags["alarm.tool_calls"]]
    assert row["rang"][0] in caplog.text
    assert [metrics["grpo/alarms"] for metrics in told.metrics] == [float(s >= row["step"]) for s in range(1, 10)]

    caplog.clear()
    resumed = log(path, told)
    resumed.write(10, {"tool_calls": 0.5})
    assert rows(path)[-1] == {"stage": "grpo", "step": 10, "tool_calls": 0.5, "alarms": 1.0}
    assert not caplog.text
    resumed.forget(after=4)
    for step in range(5, 10):
        resumed.write(step, {"tool_calls": 0.5})
    assert caplog.text.count("tool calls an episode fell") == 1, "these steps are made again"
    assert len(rows(path)) == 9


def test_a_part_of_the_reward_is_watched_where_it_has_a_weight(tmp_path: Path) -> None:
    flat = {"evidence_reward": 0.3, "evidence_std_in_group": 0.0}
    for name, rewards, alarms in (("plain", RewardConfig(), []), ("delta", RewardConfig(delta=0.3), ["evidence"])):
        path, told = tmp_path / name, Told()
        path.touch()
        kept = MetricsLog(path, "grpo", told, rewards)  # type: ignore[arg-type]
        for step in range(1, 12):
            kept.write(step, flat)
        assert list(told.tags) == [f"alarm.{part}" for part in alarms]
