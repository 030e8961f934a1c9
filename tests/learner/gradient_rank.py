"""A rank whose steps tell the gradient, and which can begin anew in another layout."""

from unittest import mock

import torch

from learner.rank import Rank

LR = 64.0
"""Large, so that the gradient is not lost in the rounding of the weights that it moves."""


def _sgd(groups, lr, **_):
    return torch.optim.SGD(groups, lr=lr)


class GradientRank(Rank):
    """Steps by plain SGD, so that a step takes the gradient times the learning rate off the weights. All else is the
    product's: the forward pass, the losses, DeepSpeed's reduction and sharding."""

    def _load(self) -> None:
        import deepspeed  # noqa: F401 - its classes derive from the real AdamW

        with mock.patch("torch.optim.AdamW", _sgd):
            super()._load()

    def layout(self, overrides: dict) -> None:
        """Begin anew from the first weights with other settings of the ranks."""
        for key, value in overrides.items():
            setattr(self._config.ranks, key, value)
        self._load()

    def cut(self, packing: bool, micro_batch_tokens: int) -> None:
        """Cut batches otherwise from now on."""
        self._config.ranks.packing, self._config.ranks.micro_batch_tokens = packing, micro_batch_tokens

    def tensors(self) -> dict[str, torch.Tensor] | None:
        """The model's tensors (rank 0)."""
        return self._outgoing._gather(self._outgoing._policy_parts())
