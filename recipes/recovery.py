"""Going on after ranks, engines or env runners have failed: how often, and how.

Invariant: a run whose parts fail again and again ends. Each rebuild, one that fails included, counts until the run is
`grpo.rebuild_window` steps past it, and more than `grpo.max_rebuilds` that count end the run with what failed.
"""

import logging
from collections.abc import Callable

from actors.errors import EngineError, RolloutError
from configs.training import GrpoConfig
from learner.ranks.group import RanksError
from learner.weights.engines import PublishError

_log = logging.getLogger(__name__)
FAILURES = (RanksError, RolloutError, EngineError, PublishError)
"""What other processes may not meet again."""


class Recovery:
    """The rebuilds of a run."""

    def __init__(self, config: GrpoConfig) -> None:
        self._most, self._window = config.max_rebuilds, config.rebuild_window
        self._steps: list[int] = []
        """The step in which each rebuild that counts was needed."""

    def recover(self, failure: Exception, step: int, rebuild: Callable[[], str]) -> None:
        """Call `rebuild`, which returns where the run goes on from, until it succeeds after `failure`, one of
        `FAILURES`. Raises the last of them where other ranks would meet it too, or no rebuild is left for this `step`.
        """
        while True:
            if (isinstance(failure, RanksError) and failure.refused) or not self._may(step):
                raise failure
            try:
                from_where = rebuild()
            except FAILURES as again:
                _log.warning("%s; then, while it was mended: %s", failure, again)
                failure = again
                continue
            _log.warning("%s; the run goes on from %s", failure, from_where)
            return

    def _may(self, step: int) -> bool:
        self._steps = [other for other in self._steps if step < other + self._window]
        if len(self._steps) >= self._most:
            return False
        self._steps.append(step)
        return True
