"""Checkpoints in two parts: a copy in host memory, made between two steps, and its writing, while the next step runs.

Invariant: what is written is the state at the moment of the copy (`host_copy`); nothing in it is shared with what the
next step changes.
"""

import copy
import os
from typing import Any

import torch


class HostSnapshots:
    """A DeepSpeed checkpoint engine around another: `save` copies, `write` saves the copies with the other.

    DeepSpeed's own decoupled engine (0.19.8) hands over the live tensors and must finish before the next update, needs
    libaio, and commits by a deadline of its own; its fast engine writes at once.
    """

    def __init__(self, inner: Any) -> None:
        """`inner` is the `CheckpointEngine` that does everything else."""
        self._inner = inner
        self._taken: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def save(self, state_dict: Any, path: str) -> None:
        """Take a copy of the state that is to lie at `path`."""
        self._taken.append((host_copy(state_dict), path))

    def write(self) -> None:
        """Write what was taken, and flush it to disk."""
        taken, self._taken = self._taken, []
        for state, path in taken:
            self._inner.save(state, path)
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def host_copy(state: Any) -> Any:
    """Nested dicts, lists and tuples with each tensor copied to the CPU; tensors that were one stay one."""
    return _copied(state, {})


def _copied(item: Any, copies: dict[tuple[Any, ...], torch.Tensor]) -> Any:
    if isinstance(item, torch.Tensor):
        key = item.data_ptr(), item.device, item.dtype, item.shape, item.stride()
        if key not in copies:
            copies[key] = item.detach().to("cpu", copy=True)
        return copies[key]
    if isinstance(item, dict):
        shallow = copy.copy(item)
        for name, value in item.items():
            shallow[name] = _copied(value, copies)
        return shallow
    if isinstance(item, list | tuple):
        values = [_copied(value, copies) for value in item]
        return type(item)(*values) if hasattr(item, "_fields") else type(item)(values)
    return item
