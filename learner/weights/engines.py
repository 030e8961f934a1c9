"""The policy's weights on their way out: to a Hugging Face folder, or as a file to the inference engines.

Invariant: names and shapes are those of the Hugging Face model, whatever the ranks did to the parameters. When
`publish` returns, every engine has said that it holds the version; an engine that has not is named.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from actors.engine.request import sentence
from learner.weights.gather import Part, walk


@dataclass(frozen=True)
class Written:
    """Weights in a file that engines can load."""

    path: str
    """Folder of `model.safetensors`, or of an adapter."""
    nbytes: int
    checksums: dict[str, int] | None
    """Of every tensor in the engines' dtype (`actors.engine.checksum`); None where that dtype is left to vLLM, and
    for an adapter."""


class PublishError(RuntimeError):
    """Some engines did not take the weights."""

    def __init__(self, version: int, failed: dict[int, str]) -> None:
        reasons = "; ".join(f"engine {index} {reason}" for index, reason in failed.items())
        super().__init__(f"policy version {version} was not taken: {reasons}")
        self.failed = sorted(failed)
        """Indices into the engines that were given."""


def gather(parts: Sequence[Part], *, sharded: bool, bucket_bytes: int, keep: bool) -> dict[str, torch.Tensor] | None:
    """Name to tensor on the CPU, where `keep`; None elsewhere. Where nothing is sharded and the model is on the CPU
    these are the parameters themselves.

    Args:
        sharded: by ZeRO-3; then all ranks must call this.
    """
    tensors = {}
    for name, tensor in walk(parts, sharded=sharded, bucket_bytes=bucket_bytes):
        if keep:
            tensors[name] = tensor.to("cpu", copy=sharded).contiguous()
    return tensors if keep else None


def export(tensors: dict[str, torch.Tensor], model: Any, model_dir: str, path: str) -> None:
    """A Hugging Face folder of the weights, with the config of `model` and the processor of `model_dir`; whole or
    not at all."""
    from transformers import AutoProcessor

    partial = Path(f"{path}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, state_dict=tensors)
    AutoProcessor.from_pretrained(model_dir).save_pretrained(partial)
    if Path(path).exists():
        shutil.rmtree(path)
    partial.rename(path)


def publish(written: Written, engines: Sequence[Any], version: int, timeout_s: float) -> int:
    """Have every engine actor load what was written as `version`, all at once.

    Returns:
        Parameters whose checksums every engine compared.

    Raises:
        PublishError: after all engines have finished or run out of time.
    """
    calls = [engine.load_weights.remote(written.path, version, written.checksums) for engine in engines]
    reports, failed = collect(calls, timeout_s)
    for index, report in enumerate(reports):
        if report is not None and report.version != version:
            failed[index] = f"says that it holds version {report.version}"
    if failed:
        raise PublishError(version, failed)
    return min((report.checked for report in reports), default=0)


def collect(calls: Sequence[Any], timeout_s: float) -> tuple[list[Any], dict[int, str]]:
    """Results of calls on engine actors, None for one that failed, and why each of those did, by index."""
    deadline = time.monotonic() + timeout_s
    results: list[Any] = []
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
