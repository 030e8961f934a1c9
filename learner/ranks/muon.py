"""Muon for matrices with AdamW for the rest, as one optimizer.

Muon (Jordan et al., 2024) steps a matrix by its momentum made orthogonal. Embeddings, vectors and kernels of more than
two dimensions are no matrices in this sense.

Invariant: both halves see one learning rate: a step of Muon has the root mean square of one of AdamW (arXiv
2502.16982).
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

MUON, ADAMW = "muon", "adamw"


class MuonAdamW(torch.optim.Optimizer):
    """PyTorch's Muon and AdamW, each on its own groups of parameters."""

    def __init__(self, groups: Sequence[dict[str, object]], betas: tuple[float, float]) -> None:
        """`groups` as any optimizer takes them, each with `half`, which is `muon` or `adamw`."""
        halves = {half: [group for group in groups if group["half"] == half] for half in (MUON, ADAMW)}
        self._halves: dict[str, torch.optim.Optimizer] = {}
        if halves[MUON]:
            self._halves[MUON] = torch.optim.Muon(halves[MUON], weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
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


def is_for_muon(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon takes a parameter of Qwen3-VL: the matrices of its linear layers."""
    return parameter.ndim == 2 and not any(part in name for part in ("embed", "lm_head"))
