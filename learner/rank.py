"""One DeepSpeed rank: the model, its optimizer, and the steps on its share of a batch.

Invariant: what a rank does depends only on its arguments, its rank and the world size, so all ranks cut a batch alike
and walk through the same collectives in the same order; a part without work is computed all the same and counts zero.
"""

import logging
import math
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs.run import Config
from env.chat import ChatFormat
from env.transcript import Trajectory
from learner import adapter, grpo, weights
from learner.batch import Batch, collate, micro_batches, mini_batches
from learner.frames import FramePatches, Normalise
from learner.ratios import kl_estimate
from learner.scorer import Scorer
from learner.trainable import train_only, without_adapter

TAG = "state"
"""Name of the state within a DeepSpeed checkpoint folder."""
Loss = Callable[[Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
Scores = Callable[[Batch, float], tuple[torch.Tensor, torch.Tensor]]
"""A batch and the sampler's temperature to log-probabilities and entropies."""


class Rank:
    """A plain class that `learner.worker` makes a Ray actor of; every method is called on all ranks at once."""

    def __init__(
        self, config: Config, model_dir: str, reference_dir: str | None, rank: int, max_grad_norm: float
    ) -> None:
        self._config, self._model_dir, self._reference_dir = config, model_dir, reference_dir
        self._rank, self._max_grad_norm = rank, max_grad_norm
        self._cpu = config.ranks.gpus_per_rank == 0
        self._device = torch.device("cpu" if self._cpu else "cuda:0")
        self._dtype = getattr(torch, config.ranks.dtype)
        self._grad_norm: float | None = None
        self._decoding = ThreadPoolExecutor(1, "load-ahead")

    def address(self) -> tuple[str, int]:
        """Host and a free port, for the ranks to meet at."""
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def start(self, host: str, port: int) -> None:
        """Meet the other ranks and load the model."""
        ranks = self._config.ranks
        os.environ.update(
            RANK=str(self._rank),
            WORLD_SIZE=str(ranks.ranks),
            LOCAL_RANK="0",
            LOCAL_SIZE="1",
            MASTER_ADDR=host,
            MASTER_PORT=str(port),
        )
        if self._cpu:
            os.environ["DS_ACCELERATOR"] = "cpu"
            torch.set_num_threads(ranks.cpus_per_rank)
        seed = self._config.seed + self._rank
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self._load_model()
        self._start_deepspeed()

    def _load_model(self) -> None:
        from transformers import AutoImageProcessor

        ranks = self._config.ranks
        self._chat = ChatFormat.from_pretrained(self._model_dir)
        processor = AutoImageProcessor.from_pretrained(self._model_dir)
        self._patches = FramePatches(processor, ranks.frame_cache_mib * 2**20)
        build = (self._dtype, Normalise(processor), self._chat.banned_ids)
        self._policy = Scorer.from_pretrained(self._model_dir, *build).train()
        train_only(self._policy.model, ranks.train, ranks.lora)
        if ranks.gradient_checkpointing:
            self._policy.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._reference: Scores | None = None
        if self._reference_dir is not None and ranks.lora.rank:
            self._reference = self._scores_without_adapter
        elif self._reference_dir is not None:
            frozen = Scorer.from_pretrained(self._reference_dir, *build).eval().to(self._device)
            self._reference = frozen.requires_grad_(False)

    def _scores_without_adapter(self, batch: Batch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """What the reference policy gives: with an adapter it is the same model without it, and takes no memory."""
        with without_adapter(self._policy.model):
            scores: tuple[torch.Tensor, torch.Tensor] = self._engine(batch, temperature)
        return scores

    def _start_deepspeed(self) -> None:
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        ranks = self._config.ranks
        if self._cpu:
            # Its shared-memory all-reduce serves inference only, and building it takes a compiler and a minute.
            # DeepSpeed keeps this dict so that edits to it persist; without the op it uses gloo alone.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(
            "gloo" if self._cpu else "nccl", timeout=timedelta(seconds=ranks.step_timeout_s), verbose=False
        )
        named = [(name, p) for name, p in self._policy.named_parameters() if p.requires_grad]
        # As is usual, vectors (norms and biases) don't decay.
        groups = [
            {"params": [p for _, p in named if (p.ndim > 1) == decays], "decays": decays, "weight_decay": 0.0}
            for decays in (True, False)
        ]
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, ranks.beta2), fused=True)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=self._policy, optimizer=optimizer, config=self._deepspeed_config(), dist_init_required=False
        )
        if self._clips_itself:
            optimizer.register_step_pre_hook(self._clip)

    @property
    def _clips_itself(self) -> bool:
        """Stage 0 in float32 has no DeepSpeed optimizer, and with it no report of the gradient's norm."""
        return self._config.ranks.zero_stage == 0 and self._dtype == torch.float32

    def _clip(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        self._grad_norm = float(torch.nn.utils.clip_grad_norm_(params, self._max_grad_norm))

    def _deepspeed_config(self) -> dict[str, Any]:
        ranks = self._config.ranks
        bf16 = self._dtype == torch.bfloat16
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            # A step has as many micro-batches as its tokens need; `step()` says where it ends.
            "managed_gradient_accumulation": False,
            "gradient_clipping": 0.0 if self._clips_itself else self._max_grad_norm,
            "zero_allow_untested_optimizer": True,
            "zero_optimization": {"stage": ranks.zero_stage, "overlap_comm": False, **self._offload()},
            # PyTorch's AdamW has a fused kernel for the CPU too; DeepSpeed's own would have to be compiled first.
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": bf16},
            **({"data_types": {"grad_accum_dtype": "fp32"}} if bf16 and ranks.zero_stage else {}),
        }

    def _offload(self) -> dict[str, Any]:
        """DeepSpeed's settings; page-locked memory speeds up the copies to and from a GPU."""
        host = {"device": "cpu", "pin_memory": not self._cpu}
        parts = {"none": (), "optimizer": ("optimizer",), "all": ("optimizer", "param")}[self._config.ranks.offload]
        return {f"offload_{part}": host for part in parts}

    def sft_step(
        self, trajectories: Sequence[Trajectory], lr: float, upcoming: Sequence[Trajectory]
    ) -> dict[str, float]:
        """One supervised update.

        Args:
            upcoming: what the next step will eat; its frames are decoded meanwhile.

        Returns:
            This rank's sums (see `grpo.means`), and the step's `grad_norm` and `seconds`.
        """
        started = time.monotonic()
        tokens = sum(sum(trajectory.transcript.sampled) for trajectory in trajectories)

        def loss(batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            logprobs, entropy = self._engine(batch)
            return grpo.sft_loss(logprobs, entropy, batch.kinds, tokens)

        sums = self._update(trajectories, None, loss, lr, self._config.sft.weight_decay, upcoming)
        return {**sums, "seconds_max": time.monotonic() - started}

    def grpo_step(
        self, trajectories: Sequence[Trajectory], advantages: Sequence[float], lr: float, version: int
    ) -> dict[str, float]:
        """The GRPO updates of one step.

        Args:
            version: that of the weights which the learner holds now.

        Returns:
            This rank's sums over the updates, `grad_norm` and `loss` summed over `updates`, and `seconds_max`.
        """
        started = time.monotonic()
        cuts = mini_batches([trajectory.task_id for trajectory in trajectories], self._config.grpo.mini_batches)
        minis = [[trajectories[i] for i in cut] for cut in cuts]
        # Before the first update pi_theta is pi_old; only what comes after needs it computed ahead.
        later = [self._old_logprobs(mini) for mini in minis[1:]]
        parts: list[dict[str, float]] = []
        for cut, mini, old in zip(cuts, minis, [None, *later], strict=True):
            loss = self._grpo_loss(mini, None if parts else version, old)
            parts.append(self._update(mini, [advantages[i] for i in cut], loss, lr, self._config.grpo.weight_decay))
        return {**grpo.merge(parts), "seconds_max": time.monotonic() - started}

    def _grpo_loss(self, mini: Sequence[Trajectory], version: int | None, old: list[torch.Tensor] | None) -> Loss:
        """The loss of a mini-batch's passes, to be called on them in their order.

        Args:
            old: log pi_old of each pass where it is neither the engine's nor what the policy gives now.
        """
        config, temperature = self._config.grpo, self._config.sampling.temperature
        tokens, ahead = sum(sum(trajectory.transcript.sampled) for trajectory in mini), iter(old or ())

        def loss(batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            reference = None
            if self._reference is not None and config.kl_in == "loss":
                with torch.no_grad():
                    reference, _ = self._reference(batch, temperature)
            logprobs, entropy = self._engine(batch, temperature, config.entropy_coef != 0)
            fresh = batch.versions == version if version is not None else torch.zeros_like(batch.versions).bool()
            pi_old = batch.sampler_logprobs
            if config.old_logprobs == "learner":
                pi_old = logprobs.detach() if old is None else next(ahead)
            inputs = grpo.LossInputs(
                logprobs=logprobs,
                old_logprobs=pi_old,
                sampler_logprobs=batch.sampler_logprobs,
                reference_logprobs=reference,
                entropy=entropy,
                advantages=batch.advantages,
                lengths=batch.lengths,
                sequences=batch.rows,
                fresh=fresh,
                trajectories=len(mini),
                tokens=tokens,
            )
            return grpo.policy_loss(inputs, config)

        return loss

    def _old_logprobs(self, mini: Sequence[Trajectory]) -> list[torch.Tensor] | None:
        """log pi_old [N] of each of this rank's passes over a later mini-batch; None if it is the engine's."""
        if self._config.grpo.old_logprobs == "engine":
            return None
        return [self._score(self._engine, batch) for _, batch in self._passes(mini)]

    def reference_kl(self, trajectories: Sequence[Trajectory]) -> dict[int, float]:
        """For each trajectory of this rank's share, by index: the estimate of KL(pi_old || pi_ref), nats, summed over
        its sampled tokens.

        Raises:
            ValueError: there is no reference.
        """
        if self._reference is None:
            raise ValueError("the KL to the reference policy needs one: give `reference_dir`")
        config = self._config.grpo
        found: dict[int, float] = {}
        for indices, batch in self._passes(trajectories):
            reference = self._score(self._reference, batch)
            old = batch.sampler_logprobs
            if config.old_logprobs == "learner":
                old = self._score(self._engine, batch)
            kl = torch.zeros(max(1, len(indices)), dtype=torch.float64, device=self._device)
            kl.index_add_(0, batch.rows, kl_estimate(old, reference, config.kl_estimator).double())
            found.update(zip(indices, kl.tolist(), strict=False))
        return found

    @torch.no_grad()
    def _score(self, model: Callable[..., tuple[torch.Tensor, torch.Tensor]], batch: Batch) -> torch.Tensor:
        return model(batch, self._config.sampling.temperature)[0]

    def _passes(
        self,
        trajectories: Sequence[Trajectory],
        advantages: Sequence[float] | None = None,
        upcoming: Sequence[Trajectory] = (),
    ) -> Iterator[tuple[tuple[int, ...], Batch]]:
        """The passes of this rank: their indices, none where there is no work, and their tensors.

        Args:
            upcoming: what the next step will eat; its frames are decoded meanwhile.
        """
        plan = self._plan(trajectories)
        shortest = min(range(len(trajectories)), key=lambda i: len(trajectories[i].transcript.ids))
        self._load_ahead([trajectories[i] for indices in plan[1:] for i in indices], upcoming)
        for indices in plan:
            mine = indices or (shortest,)
            given = None if advantages is None else [advantages[i] for i in mine]
            chosen = [trajectories[i] for i in mine]
            batch = collate(chosen, given, self._patches, self._chat, packed=self._config.ranks.packing)
            yield indices, batch.to(self._device)

    def _update(
        self,
        trajectories: Sequence[Trajectory],
        advantages: Sequence[float] | None,
        loss: Loss,
        lr: float,
        weight_decay: float,
        upcoming: Sequence[Trajectory] = (),
    ) -> dict[str, float]:
        """Gradients of all micro-batches, then one optimizer step."""
        ranks = self._config.ranks.ranks
        parts = []
        for indices, batch in self._passes(trajectories, advantages, upcoming):
            value, sums = loss(batch)
            if indices:
                parts.append({key: float(total) for key, total in sums.items()})
            # DeepSpeed averages over the ranks; the loss is this rank's share of a sum.
            self._engine.backward(value * (ranks if indices else 0.0))
        sums = grpo.merge(parts)
        if not math.isfinite(sums.get("loss", 0.0)):
            raise ArithmeticError(f"the loss is {sums['loss']}, the weights were left as they are")
        for group in self._optimizer.param_groups:
            group["lr"], group["weight_decay"] = lr, weight_decay if group["decays"] else 0.0
        self._engine.step()
        norm = self._grad_norm if self._clips_itself else self._engine.get_global_grad_norm()
        return {**sums, "grad_norm": float(norm or 0.0) / ranks, "updates": 1.0 / ranks}

    def _plan(self, trajectories: Sequence[Trajectory]) -> list[tuple[int, ...]]:
        """The forward passes of this rank, as indices."""
        ranks = self._config.ranks
        lengths = [len(trajectory.transcript.ids) for trajectory in trajectories]
        return micro_batches(lengths, ranks.micro_batch_tokens, ranks.ranks, packed=ranks.packing)[self._rank]

    def _load_ahead(self, rest: list[Trajectory], upcoming: Sequence[Trajectory]) -> None:
        """Decode what the later passes need, then what the next step does, beside the computation."""
        later = [*rest, *(upcoming[i] for indices in (self._plan(upcoming) if upcoming else []) for i in indices)]
        frames = [frame for trajectory in later for frame in trajectory.transcript.frames]
        self._decoding.submit(self._patches.load_ahead, frames)

    def write_weights(self, folder: str | None) -> str | None:
        """Write what the engines take into a new folder (rank 0): the weights as `model.safetensors`, or the adapter
        where `engine.lora_rank` asks for it; its path."""
        if not self._config.engine.lora_rank:
            gathered = self._gather()
            return None if gathered is None else str(weights.write(gathered, folder))
        tensors = self._gather_adapter()
        if tensors is None:
            return None
        path = weights.new_folder(tensors, folder)
        adapter.write_adapter(tensors, self._config.ranks.lora, self._model_dir, path)
        return str(path)

    def remove_weights(self, path: str) -> None:
        """Remove what `write_weights` wrote."""
        shutil.rmtree(path, ignore_errors=True)

    def export(self, path: str) -> None:
        """A Hugging Face folder of the policy (rank 0), whole or not at all."""
        gathered = self._gather()
        if gathered is not None:
            weights.export(gathered, self._policy.model, self._model_dir, path)

    def export_adapter(self, path: str) -> None:
        """The adapter alone in PEFT's format (rank 0)."""
        tensors = self._gather_adapter()
        if tensors is not None:
            Path(path).mkdir(parents=True, exist_ok=True)
            adapter.write_adapter(tensors, self._config.ranks.lora, self._model_dir, Path(path))

    def _gather(self) -> dict[str, torch.Tensor] | None:
        """The Hugging Face model's tensors, the adapter merged into them, on rank 0."""
        tensors = self._gathered(self._policy.model.named_parameters())
        lora = self._config.ranks.lora
        return adapter.merged(tensors, lora) if tensors is not None and lora.rank else tensors

    def _gather_adapter(self) -> dict[str, torch.Tensor] | None:
        return self._gathered((name, p) for name, p in self._policy.model.named_parameters() if p.requires_grad)

    def _gathered(self, named: Iterable[tuple[str, torch.nn.Parameter]]) -> dict[str, torch.Tensor] | None:
        return weights.gather(named, sharded=self._config.ranks.zero_stage == 3, keep=self._rank == 0)

    def save(self, folder: str) -> None:
        """Model, optimizer and random state of this rank."""
        self._engine.save_checkpoint(folder, tag=TAG, save_latest=False)
        state = {
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),
            "python": random.getstate(),
            "cuda": None if self._cpu else torch.cuda.get_rng_state(),
        }
        torch.save(state, Path(folder) / f"random-{self._rank}.pt")

    def load(self, folder: str) -> None:
        """The inverse of `save`."""
        path, _ = self._engine.load_checkpoint(folder, tag=TAG)
        if path is None:
            raise FileNotFoundError(f"{folder}: holds no learner state")
        state = torch.load(Path(folder) / f"random-{self._rank}.pt", weights_only=False)
        torch.set_rng_state(state["torch"])
        np.random.set_state(state["numpy"])
        random.setstate(state["python"])
        if not self._cpu:
            torch.cuda.set_rng_state(state["cuda"])
