"""Checkpoints in two parts: a copy in host memory, made between two steps, and its writing, while the next step runs.

Invariant: what is written is the state at the moment of the copy (`host_copy`); nothing in it is shared with what the
next step changes.
"""

import copy
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import torch

from storage.files import flush

T = TypeVar("T")


class StateWriter(Protocol):
    """What is needed of DeepSpeed's `CheckpointEngine`."""

    def save(self, state_dict: object, path: str) -> object:
        """Write a state to a file."""


class HostSnapshots:
    """A DeepSpeed checkpoint engine around another: `save` copies, `write` saves the copies with the other.

    DeepSpeed's own decoupled engine (0.19.8) hands over the live tensors and must finish before the next update, needs
    libaio, and commits by a deadline of its own; its fast engine writes at once.
    """

    def __init__(self, inner: StateWriter) -> None:
        """`inner` does everything else."""
        self._inner = inner
        self._taken: list[tuple[object, str]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def save(self, state_dict: object, path: str) -> None:
        """Take a copy of the state that is to lie at `path`."""
        self._taken.append((host_copy(state_dict), path))

    def write(self) -> None:
        """Write what was taken, and flush it to disk."""
        taken, self._taken = self._taken, []
        for state, path in taken:
            self._inner.save(state, path)
            flush(path)


def host_copy(state: T) -> T:
    """Copy nested dicts, lists and tuples with each tensor copied to the CPU; tensors that were one stay one."""
    return cast(T, _copied(state, {}))


def _copied(item: object, copies: dict[tuple[object, ...], torch.Tensor]) -> object:
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
        make: Callable[..., object] = type(item)
        return make(*values) if hasattr(item, "_fields") else make(values)
    return item
