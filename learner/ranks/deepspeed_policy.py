"""The policy in DeepSpeed's hands: its engine, its optimizer, one update.

Invariants, whatever the ZeRO stage, the type and where optimizer and parameters lie:
- An update is one of AdamW, or of Muon and AdamW, on the gradients of a sum over all ranks, clipped by their norm.
- Gradients whose norm is not finite are dropped, on all ranks alike as the norm is one of all ranks: weights, moments
  and AdamW's count of steps stay as they were, and nothing of these gradients is left for the next update. DeepSpeed's
  optimizers do so themselves, as after an overflow, and `_forget` what they leave; where there is none, `_clip` does.
"""

import importlib
import logging
import math
import sys
from datetime import timedelta
from types import ModuleType

import torch
from torch import nn

from configs.run import Config
from configs.training import OptimizerName
from learner.model.batch import Batch
from learner.model.scorer import Scorer
from learner.planning.memory import BUCKET
from learner.ranks.host_snapshots import HostSnapshots
from learner.ranks.muon import ADAMW, MUON, MuonAdamW, is_for_muon


def import_deepspeed() -> ModuleType:
    """Import DeepSpeed without MLflow, which its autotuner would bring into every rank for a second or more."""
    if "mlflow" in sys.modules:
        return importlib.import_module("deepspeed")
    sys.modules["mlflow"] = None  # type: ignore[assignment]  # as Python marks a module that is not to be had
    try:
        return importlib.import_module("deepspeed")
    finally:
        del sys.modules["mlflow"]


class DeepSpeedPolicy:
    """The policy that trains, called as the `Scorer` in it."""

    def __init__(self, policy: Scorer, config: Config, max_grad_norm: float, optimizer_name: OptimizerName) -> None:
        """Meet the other ranks, whose addresses are in the environment."""
        deepspeed = import_deepspeed()
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        ranks = config.ranks
        self.cpu = ranks.gpus_per_rank == 0
        """Whether the ranks compute on CPUs."""
        self.device = torch.device("cpu" if self.cpu else "cuda:0")
        self.zero_stage = ranks.zero_stage
        self._ranks = ranks.ranks
        self._max_grad_norm = max_grad_norm
        self._grad_norm: float | None = None
        self._bf16 = ranks.dtype == "bfloat16"
        self._offload = ranks.offload
        if self.cpu:
            # Its shared-memory all-reduce serves inference only, and building it takes a compiler and a minute.
            # DeepSpeed keeps this dict so that edits to it persist; without the op it uses gloo alone.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(
            "gloo" if self.cpu else "nccl", timeout=timedelta(seconds=ranks.step_timeout_s), verbose=False
        )
        self._bucket = min(BUCKET, sum(p.numel() for p in policy.parameters() if p.requires_grad))
        groups, betas = _groups(policy, optimizer_name), (0.9, ranks.beta2)
        optimizer: torch.optim.Optimizer
        if optimizer_name == "muon":
            optimizer = MuonAdamW(groups, betas)
        else:
            optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=policy, optimizer=optimizer, config=self._settings(), dist_init_required=False
        )
        self.engine.checkpoint_engine = self.snapshots = HostSnapshots(self.engine.checkpoint_engine)
        if self._clips_itself:
            optimizer.register_step_pre_hook(self._clip)

    def __call__(
        self, batch: Batch, temperature: float = 1.0, differentiable_entropy: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities and entropies; see `Scorer`."""
        return self.engine(batch, temperature, differentiable_entropy)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of this rank's share of the loss."""
        # DeepSpeed averages over the ranks; the loss is this rank's share of a sum.
        self.engine.backward(loss * self._ranks)

    def total(self, *counts: float) -> list[float]:
        """Sum each count over all ranks."""
        sums = torch.tensor(counts, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(sums)
        return sums.tolist()

    def step(self, lr: float, weight_decay: float) -> float:
        """Make one update with the gradients so far; returns their norm before clipping. One that is not finite is of
        an update that was not made."""
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = lr, weight_decay if group["decays"] else 0.0
        self.engine.step()
        norm = float((self._grad_norm if self._clips_itself else self.engine.get_global_grad_norm()) or 0.0)
        if not math.isfinite(norm):
            self._forget()
        return norm

    def _forget(self) -> None:
        """Drop the float32 sums of bfloat16 gradients: with the optimizer's state on the host, ZeRO stages 1 and 2
        (0.19.8) keep them after an overflow and add the next ones to them."""
        if self._offload == "optimizer" and self.zero_stage < 3:
            self.optimizer.averaged_gradients = dict.fromkeys(self.optimizer.averaged_gradients)

    @property
    def _clips_itself(self) -> bool:
        """ZeRO stage 0 in float32 has no DeepSpeed optimizer, and with it no report of the gradient's norm."""
        return self.zero_stage == 0 and not self._bf16

    def _clip(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        self._grad_norm = float(torch.nn.utils.clip_grad_norm_(params, self._max_grad_norm))
        if not math.isfinite(self._grad_norm):
            optimizer.zero_grad(set_to_none=True)  # AdamW passes over a parameter without a gradient

    def _settings(self) -> dict[str, object]:
        # Page-locked memory speeds up the copies to and from a GPU.
        host = {"device": "cpu", "pin_memory": not self.cpu}
        parts = {"none": (), "optimizer": ("optimizer",), "all": ("optimizer", "param")}[self._offload]
        offload = {f"offload_{part}": host for part in parts}
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            # A step has as many micro-batches as its tokens need; `step()` says where it ends.
            "managed_gradient_accumulation": False,
            "gradient_clipping": 0.0 if self._clips_itself else self._max_grad_norm,
            "zero_allow_untested_optimizer": True,
            # DeepSpeed allocates a whole bucket, however small the model is.
            "zero_optimization": {
                "stage": self.zero_stage,
                "overlap_comm": False,
                "reduce_bucket_size": self._bucket,
                **offload,
            },
            # PyTorch's AdamW has a fused kernel for the CPU too; DeepSpeed's own would have to be compiled first.
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": self._bf16},
            **({"data_types": {"grad_accum_dtype": "fp32"}} if self._bf16 and self.zero_stage else {}),
        }


def _groups(policy: Scorer, optimizer: OptimizerName) -> list[dict[str, object]]:
    """Group the trained parameters for the optimizer. As is usual, vectors (norms and biases) don't decay."""
    sorted_in: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            half = MUON if optimizer == "muon" and is_for_muon(name, parameter) else ADAMW
            sorted_in.setdefault((half, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": params, "half": half, "decays": decays, "weight_decay": 0.0}
        for (half, decays), params in sorted(sorted_in.items(), reverse=True, key=lambda item: item[0])
    ]
