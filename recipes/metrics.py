"""The figures of a run's training steps: `metrics.jsonl`, which the report is made of, and the run log.

Invariants:
- A row is of a step that the run has made once. Those of steps that will be made again are dropped before.
- Every figure of a row is a finite number; what is none is left out. Beside them a row has the sentences of the alarms
  that began with it (`rang`).
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

from configs.episode import RewardConfig
from evals.alarms import Alarms
from recipes.run_log import RunLog
from storage.files import write_rows
from storage.logs import AppendLog, whole_rows

_log = logging.getLogger(__name__)


class MetricsLog:
    """Takes the metrics of one phase."""

    def __init__(self, path: Path, phase: str, run_log: RunLog, rewards: RewardConfig | None = None) -> None:
        """With the settings of the `rewards`, raise alarms (`evals.alarms`); those that earlier rows began go on."""
        self._path, self._phase, self._run_log, self._rewards = path, phase, run_log, rewards
        self._alarms = self._alarms_of_rows()

    def write(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Write those of one step; returns what was written of them."""
        figures = {name: value for name, value in metrics.items() if math.isfinite(value)}
        row: dict[str, object] = {"stage": self._phase, "step": step, **figures}
        if self._alarms is not None:
            rang = self._alarms.observe(step, figures)
            row["alarms"] = figures["alarms"] = float(len(self._alarms.ringing))
            row |= {"rang": [alarm.sentence for alarm in rang]} if rang else {}
            for alarm in rang:
                _log.warning("%s", alarm.sentence)
                self._run_log.tag(f"alarm.{alarm.name}", alarm.sentence)
        rows = AppendLog(self._path)  # opened anew, as rows that were forgotten are another file
        rows.append(json.dumps(row).encode())
        rows.close()
        self._run_log.log(step, {f"{self._phase}/{name}": value for name, value in figures.items()})
        return figures

    def forget(self, after: int) -> None:
        """Drop the rows of the steps after `after`, which will be made again."""
        forget_rows(self._path, self._phase, after)
        self._alarms = self._alarms_of_rows()

    def _alarms_of_rows(self) -> Alarms | None:
        if self._rewards is None:
            return None
        rewards = self._rewards
        weights = {
            "accuracy": rewards.alpha,
            "format": rewards.beta,
            "parsimony": rewards.gamma,
            "evidence": rewards.delta,
        }
        alarms = Alarms(weights)
        for row in whole_rows(self._path):
            if row.get("stage") == self._phase:
                alarms.observe(row["step"], row)
        return alarms


def forget_rows(path: Path, phase: str, after: int) -> None:
    """Drop a phase's rows of the steps after `after`, which will be made again, and a line that was torn."""
    write_rows(path, [row for row in whole_rows(path) if row.get("stage") != phase or row["step"] <= after])
