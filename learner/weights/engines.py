"""Having the inference engines load the weights that lie in a file.

Invariant: when `publish` returns, every engine has answered that it holds the version; one that has not is named.
"""

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import ray

from actors.engine.handle import EngineHandle
from actors.errors import sentence

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """Weights in a file that engines can load."""

    path: str
    """Folder of `model.safetensors`, or of an adapter."""
    checksums: dict[str, int] | None
    """Checksums of every tensor in the engines' dtype; None where that is left to vLLM, and for an adapter."""


class PublishError(RuntimeError):
    """Some engines did not take the weights."""

    def __init__(self, version: int, failed: dict[int, str]) -> None:
        reasons = "; ".join(f"engine {index} {reason}" for index, reason in failed.items())
        super().__init__(f"policy version {version} was not taken: {reasons}")
        self.failed = failed
        """Why, by index into the engines that were given."""


def publish(written: Written, engines: Sequence[EngineHandle], version: int, timeout_s: float) -> int:
    """Have all engine actors load what was written as `version`, at once. Returns how many parameters' checksums every
    engine compared; raises PublishError, after all engines have finished or run out of time."""
    calls = [engine.load_weights(written.path, version, written.checksums) for engine in engines]
    reports, failed = collect(calls, timeout_s)
    for index, report in enumerate(reports):
        if report is not None and report.version != version:
            failed[index] = f"says that it holds version {report.version}"
    if failed:
        raise PublishError(version, failed)
    return min((report.checked for report in reports if report is not None), default=0)


def collect(calls: Sequence[Awaitable[T]], timeout_s: float) -> tuple[list[T | None], dict[int, str]]:
    """Wait for calls on engine actors: the results, None for one that failed, and why each of those did, by index."""
    deadline = time.monotonic() + timeout_s
    results: list[T | None] = []
    failed: dict[int, str] = {}
    for index, call in enumerate(calls):
        result = None
        try:
            result = ray.get(call, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            failed[index] = f"missed the deadline of {timeout_s:.0f} s"
        except ray.exceptions.RayError as error:
            failed[index] = f"failed ({sentence(error)})"
        results.append(result)
    return results, failed
