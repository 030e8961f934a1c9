"""Muon for matrices with AdamW for the rest, as one optimizer.

Muon (Jordan et al., 2024) steps a matrix by its momentum made orthogonal. Embeddings, vectors and kernels of more than
two dimensions are no matrices in this sense.

Invariant: both halves see one learning rate: a step of Muon has the root mean square of one of AdamW (arXiv
2502.16982).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

MUON, ADAMW = "muon", "adamw"
STACK = 2**22
"""Most numbers that are made orthogonal at once, but for a matrix that has more alone."""


class MuonAdamW(torch.optim.Optimizer):
    """Muon and PyTorch's AdamW, each on its own groups of parameters."""

    def __init__(self, groups: Sequence[dict[str, object]], betas: tuple[float, float]) -> None:
        """`groups` as any optimizer takes them, each with `half`, which is `muon` or `adamw`."""
        halves = {half: [group for group in groups if group["half"] == half] for half in (MUON, ADAMW)}
        self._halves: dict[str, torch.optim.Optimizer] = {}
        if halves[MUON]:
            self._halves[MUON] = StackedMuon(halves[MUON])
        if halves[ADAMW]:
            self._halves[ADAMW] = torch.optim.AdamW(halves[ADAMW], betas=betas, fused=True)
        super().__init__([group for half in self._halves.values() for group in half.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step both halves; parameters without a gradient stay as they are."""
        for name, half in self._halves.items():
            # Anew each time: a state that was loaded is another object.
            half.state, half.param_groups = self.state, [g for g in self.param_groups if g["half"] == name]
            half.step()


class StackedMuon(torch.optim.Muon):
    """PyTorch's Muon with the rates of AdamW, bit for bit. Matrices of one shape are made orthogonal at once: a small
    model has many small ones, each of which costs PyTorch twenty calls."""

    def __init__(self, params: Sequence[nn.Parameter] | Sequence[dict[str, Any]]) -> None:
        """Rate and decay are those of the groups, as they are at each step."""
        super().__init__(params, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step; parameters without a gradient stay as they are."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p, update in zip(params, self._updates(group, params), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(p.shape)))

    def _updates(self, group: dict[str, Any], params: Sequence[nn.Parameter]) -> list[torch.Tensor]:
        """The orthogonal momentum of each, bfloat16."""
        momenta, alike = [], defaultdict(list)
        for i, p in enumerate(params):
            assert p.grad is not None
            buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p.grad))
            buffer.lerp_(p.grad, 1 - group["momentum"])
            momenta.append(p.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer)
            alike[p.shape].append(i)
        updates = [torch.empty(0)] * len(params)
        for shape, places in alike.items():
            most = max(1, STACK // shape.numel())
            for first in range(0, len(places), most):
                some = places[first : first + most]
                stack = torch.stack([momenta[i] for i in some])
                made = _orthogonal(stack, group["ns_coefficients"], group["ns_steps"], group["eps"])
                for i, update in zip(some, made, strict=True):
                    updates[i] = update
        return updates


def _orthogonal(stack: torch.Tensor, by: tuple[float, float, float], steps: int, eps: float) -> torch.Tensor:
    """Newton-Schulz iterations (Jordan et al., 2024) towards the nearest orthogonal matrix of each of [k, m, n]."""
    linear, cubic, quintic = by
    tall = stack.shape[1] > stack.shape[2]
    x = stack.bfloat16()
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return x.mT if tall else x


def is_for_muon(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon takes a parameter of Qwen3-VL: the matrices of its linear layers."""
    return parameter.ndim == 2 and not any(part in name for part in ("embed", "lm_head"))
