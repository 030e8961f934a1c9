"""The checkpoints of a run, written while it goes on.

Invariants:
- One is written at a time: the next waits for it (`save`), and so does the end of the run (`wait`).
- A checkpoint that cannot be written costs the run nothing else: it is reported in one sentence and counted (`failed`).
"""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from learner.activity import OnActivity, unwatched
from learner.checkpoints.folder import CheckpointError, begin, commit, prune

_log = logging.getLogger(__name__)
Start = Callable[[Path], Callable[[], None]]
"""Copies the state of this moment, to be written into the folder, and returns what waits until it is there."""


class Saver:
    """Checkpoints in one folder: the newest few, and the best."""

    def __init__(
        self, directory: Path, keep: int, metric: str, timeout_s: float, on_activity: OnActivity = unwatched
    ) -> None:
        """
        Args:
            keep: newest ones kept.
            metric: see `folder.best`; of its values since the last checkpoint the mean counts. Empty keeps none.
            timeout_s: longest wait for one to be written.
            on_activity: called with `writing` and `written` as the writing of one begins and ends, from its thread.
        """
        self.failed = 0
        """Checkpoints that could not be written."""
        self._directory, self._keep, self._metric = directory, keep, metric
        self._timeout_s, self._on_activity = timeout_s, on_activity
        self._values: list[float] = []
        self._thread: threading.Thread | None = None
        self._error: str | None = None

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take note of a step's metrics, and report a checkpoint that failed since the last step. A step without an
        update has none of the learner's, or not a number. Raises CheckpointError where the metric to choose by is not
        among them."""
        self._report()
        name = self._metric.removeprefix("-")
        if name and name not in metrics:
            raise CheckpointError(f"grpo.best_metric: no metric {name}; there are {', '.join(sorted(metrics))}")
        if name and math.isfinite(metrics[name]):
            self._values.append(float(metrics[name]))

    def save(self, step: int, start: Start, *, block: bool) -> None:
        """Copy the state, and write it while the run goes on; with `block`, return once it is written."""
        self.wait()
        if self._thread is not None:
            self._fail(f"checkpoint of step {step}: left out, the one before is still being written")
            return self._report()
        values, self._values = self._values, []
        facts = {"metrics": {self._metric.removeprefix("-"): fmean(values)} if values else {}}
        try:
            partial = begin(self._directory, step)
            finish = start(partial)
        except (CheckpointError, OSError) as error:
            self._fail(f"checkpoint of step {step}: {error}")
            return self._report()
        work = partial, step, facts, finish
        self._thread = threading.Thread(target=self._write, args=work, name="checkpoint", daemon=True)
        self._thread.start()
        if block:
            self.close()

    def wait(self) -> None:
        """Wait for the one that is being written, at most `timeout_s`."""
        if self._thread is not None:
            self._thread.join(self._timeout_s)
            if not self._thread.is_alive():
                self._thread = None
        self._report()

    def reset(self) -> None:
        """Wait, and forget the metrics since the last checkpoint: these steps will be run again."""
        self.wait()
        self._values = []

    def close(self) -> None:
        """Wait: whatever ends the run, one that was begun is finished, or reported as lost."""
        self.wait()
        if self._thread is not None:
            self._fail(f"checkpoint: was not written within {self._timeout_s:g} s")
            self._report()

    def _write(self, partial: Path, step: int, facts: Mapping[str, object], finish: Callable[[], None]) -> None:
        self._on_activity("writing")
        try:
            finish()
            commit(partial, step, facts)
            prune(self._directory, self._keep, self._metric)
        except Exception as error:  # noqa: BLE001 - whatever ends this thread is reported by the run's own
            self._fail(f"checkpoint of step {step}: {error}")
        self._on_activity("written")

    def _fail(self, sentence: str) -> None:
        self.failed += 1
        self._error = " ".join(sentence.split())

    def _report(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            _log.warning("%s; the run goes on", error)
