"""The figures of a run's training steps: `metrics.jsonl`, which the report is made of, and the run log.

Invariant: a row is of a step that the run has made once. Those of steps that will be made again are dropped before.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from recipes.run_log import RunLog
from storage.files import write_rows
from storage.logs import AppendLog, whole_rows


class MetricsLog:
    """Takes the metrics of one phase."""

    def __init__(self, path: Path, phase: str, run_log: RunLog) -> None:
        self._path, self._phase, self._run_log = path, phase, run_log

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write those of one step."""
        rows = AppendLog(self._path)  # opened anew, as rows that were forgotten are another file
        rows.append(json.dumps({"stage": self._phase, "step": step, **metrics}).encode())
        rows.close()
        self._run_log.log(step, {f"{self._phase}/{name}": value for name, value in metrics.items()})


def forget_rows(path: Path, phase: str, after: int) -> None:
    """Drop a phase's rows of the steps after `after`, which will be made again, and a line that was torn."""
    write_rows(path, [row for row in whole_rows(path) if row["stage"] != phase or row["step"] <= after])
