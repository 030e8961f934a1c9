"""The policy's weights on their way out: to a Hugging Face folder, or to the inference engines.

Invariant: names and shapes are those of the Hugging Face model, whatever the ranks did to the parameters. When
`publish` returns, every engine has said that it holds the version; an engine that has not is named.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
import torch


class PublishError(RuntimeError):
    """Some engines did not take the weights."""

    def __init__(self, version: int, failed: dict[int, str]) -> None:
        reasons = "; ".join(f"engine {index} {reason}" for index, reason in failed.items())
        super().__init__(f"policy version {version} was not taken: {reasons}")
        self.failed = sorted(failed)
        """Indices into the engines that were given."""


def gather(
    named: Iterable[tuple[str, torch.nn.Parameter]], *, sharded: bool, keep: bool
) -> dict[str, torch.Tensor] | None:
    """Name to tensor on the CPU, where `keep`; None elsewhere.

    Args:
        sharded: by ZeRO-3; then all ranks must call this, and walk the parameters in one order.
    """
    import deepspeed

    tensors = {}
    for name, parameter in named:
        with deepspeed.zero.GatheredParameters([parameter]) if sharded else nullcontext():
            if keep:
                tensors[name] = parameter.detach().to("cpu", copy=True).contiguous()
    return tensors if keep else None


def write(tensors: dict[str, torch.Tensor], folder: str | None) -> Path:
    """Write `model.safetensors` into a `new_folder`."""
    from safetensors.torch import save_file

    path = new_folder(tensors, folder)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    return path


def new_folder(tensors: dict[str, torch.Tensor], folder: str | None) -> Path:
    """A new folder within `folder`; None takes shared memory if it has room for the tensors twice over, else the folder
    for temporary files."""
    if folder is None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        shared = "/dev/shm"
        roomy = os.path.isdir(shared) and shutil.disk_usage(shared).free > 2 * size
        folder = shared if roomy else tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="videoseeker-weights-", dir=folder))


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
