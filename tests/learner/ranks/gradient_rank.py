"""Ranks that can begin anew in another layout; one whose steps tell the gradient, one whose steps tell their memory."""

import gc
import weakref
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from env.trajectory import Trajectory
from learner.ranks.deepspeed_policy import import_deepspeed
from learner.ranks.rank import Rank

LR = 64.0
"""Large, so that the gradient is not lost in the rounding of the weights that it moves."""


def _sgd(groups: Any, lr: Any, **_: Any) -> Any:
    return torch.optim.SGD(groups, lr=lr)


class OtherLayoutRank(Rank):
    """Can begin anew from the first weights."""

    def layout(self, overrides: dict[str, Any]) -> None:
        """With other settings of the ranks."""
        for key, value in overrides.items():
            setattr(self._config.ranks, key, value)
        self._policy.engine.destroy()
        for part in ("_policy", "updates", "state", "sender"):
            delattr(self, part)
        self._load()

    def objective(self, overrides: dict[str, Any]) -> None:
        """Set other settings of GRPO from now on."""
        for key, value in overrides.items():
            setattr(self._config.grpo, key, value)

    def tensors(self) -> dict[str, torch.Tensor] | None:
        """The model's tensors (rank 0)."""
        return self.sender._gather(self.sender._policy_parts())


class GradientRank(OtherLayoutRank):
    """Steps by plain SGD, so that a step takes the gradient times the learning rate off the weights. All else is the
    product's: the forward pass, the losses, DeepSpeed's reduction and sharding."""

    def _load(self) -> None:
        import_deepspeed()  # its classes derive from the real AdamW
        with mock.patch("torch.optim.AdamW", _sgd):
            super()._load()

    def cut(self, packing: bool, micro_batch_tokens: int) -> None:
        """Cut batches otherwise from now on."""
        self._config.ranks.packing, self._config.ranks.micro_batch_tokens = packing, micro_batch_tokens


class WatchedRank(OtherLayoutRank):
    """Tells the most memory that a step's tensors take at once."""

    def _load(self) -> None:
        import_deepspeed()
        if not gc.get_freeze_count():
            gc.freeze()  # what modules hold is not looked through each time
        self._left = _tensors()  # DeepSpeed (0.19.8) lets go of a layout only in part, and late
        super()._load()

    def peak(self, trajectories: Sequence[Trajectory], lr: float) -> int:
        """Bytes of all tensors, those of the model and the optimizer included, at the worst moment of an SFT step: one
        in which nothing of a former layout was let go of."""
        left = -1
        while left != (left := _Storages(self._left).bytes):
            with _Storages(_tensors()) as storages:
                self.updates.sft_step(trajectories, lr, ())
        return storages.peak - left


def _tensors() -> list[torch.Tensor]:
    gc.collect()
    return [item for item in gc.get_objects() if isinstance(item, torch.Tensor)]


class _Storages(TorchDispatchMode):
    """Counts the bytes of the storages that there are, those of `tensors` to begin with."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.peak = self.bytes = 0
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in tensors:
            self._count(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for item in tree_leaves(made):
            if isinstance(item, torch.Tensor):
                self._count(item)
        return made

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._held or not size:
            return

        def freed(_: object) -> None:
            del self._held[key]
            self.bytes -= size

        self._held[key] = weakref.ref(storage, freed)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
