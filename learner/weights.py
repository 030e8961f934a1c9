"""Handing new weights to the inference engines.

Invariant: when `publish` returns, every engine has said that it holds the version; an engine that has not is named.
"""

import time
from collections.abc import Sequence
from typing import Any

import ray


class PublishError(RuntimeError):
    """Some engines did not take the weights."""

    def __init__(self, version: int, failed: dict[int, str]) -> None:
        reasons = "; ".join(f"engine {index} {reason}" for index, reason in failed.items())
        super().__init__(f"policy version {version} was not taken: {reasons}")
        self.failed = sorted(failed)
        """Indices into the engines that were given."""


def publish(path: str, engines: Sequence[Any], version: int, timeout_s: float) -> None:
    """Have every engine actor load the safetensors in folder `path` as `version`, all at once.

    Raises:
        PublishError: after all engines have finished or run out of time.
    """
    calls = [engine.load_weights.remote(path, version) for engine in engines]
    deadline = time.monotonic() + timeout_s
    failed: dict[int, str] = {}
    for index, call in enumerate(calls):
        try:
            report = ray.get(call, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            failed[index] = f"missed the deadline of {timeout_s:.0f} s"
        except ray.exceptions.RayError as error:
            failed[index] = f"failed ({str(error).splitlines()[-1]})"
        else:
            if report.version != version:
                failed[index] = f"says that it holds version {report.version}"
    if failed:
        raise PublishError(version, failed)
