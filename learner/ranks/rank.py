"""One DeepSpeed rank: what it holds, and the one door by which its parts are called.

Invariant: the ranks start alike: same weights, and random states that follow from the seed and the rank.
"""

import os
import random
import socket
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from configs.run import Config
from configs.training import OptimizerName
from env.chat import ChatFormat
from learner.model.batch import Batch
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.scorer import Scorer
from learner.model.trainable import train_only, without_adapter
from learner.ranks.deepspeed_policy import DeepSpeedPolicy
from learner.ranks.state import RankState
from learner.ranks.updates import Scores, Updates
from learner.weights.sender import WeightSender

R = TypeVar("R")


class Rank:
    """A plain class that `learner.ranks.group` makes a Ray actor of.

    Its work is that of its parts, which are there once it has started; their methods are called on all ranks at once.
    """

    updates: Updates
    state: RankState
    sender: WeightSender

    def __init__(
        self,
        config: Config,
        model_dir: str,
        reference_dir: str | None,
        rank: int,
        max_grad_norm: float,
        optimizer: OptimizerName = "adamw",
    ) -> None:
        self._config, self._model_dir, self._reference_dir = config, model_dir, reference_dir
        self._rank, self._max_grad_norm, self._optimizer = rank, max_grad_norm, optimizer

    def call(self, method: Callable[..., R], *args: object, **kwargs: object) -> R:
        """Call a method of this class or of a part's, given as the class has it: `Updates.grpo_step`. Raises TypeError
        where neither the rank nor what it holds has such a method."""
        for part in (self, *vars(self).values()):
            if any(vars(kind).get(method.__name__) is method for kind in type(part).__mro__):
                return getattr(part, method.__name__)(*args, **kwargs)
        raise TypeError(f"{method.__qualname__} is no method of a rank or of a part of it")

    def address(self) -> tuple[str, int]:
        """Return host and a free port, for the ranks to meet at."""
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
        if not ranks.gpus_per_rank:
            os.environ["DS_ACCELERATOR"] = "cpu"
            torch.set_num_threads(ranks.cpus_per_rank)
        seed = self._config.seed + self._rank
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self._load()

    def _load(self) -> None:
        from transformers import AutoImageProcessor

        config, ranks = self._config, self._config.ranks
        chat = ChatFormat.from_pretrained(self._model_dir)
        processor = AutoImageProcessor.from_pretrained(self._model_dir)
        build = (getattr(torch, ranks.dtype), Normalise(processor), chat.banned_ids)
        scorer = Scorer.from_pretrained(self._model_dir, *build).train()
        train_only(scorer.model, ranks.train, ranks.lora)
        if ranks.gradient_checkpointing:
            scorer.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._policy = policy = DeepSpeedPolicy(scorer, config, self._max_grad_norm, self._optimizer)
        reference: Scores | None = None
        if self._reference_dir is not None and ranks.lora.rank:
            reference = self._scores_without_adapter
        elif self._reference_dir is not None:
            frozen = Scorer.from_pretrained(self._reference_dir, *build).eval().to(policy.device)
            reference = frozen.requires_grad_(False)
        patches = FramePatches(processor, ranks.frame_cache_mib * 2**20)
        self.updates = Updates(config, policy, reference, patches, chat, self._rank)
        self.state = RankState(policy, self._rank)
        self.sender = WeightSender(scorer.model, config, self._model_dir, self._rank)

    def _scores_without_adapter(self, batch: Batch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Score as the reference policy: with an adapter it is the same model without it, and takes no memory."""
        with without_adapter(self._policy.engine.module.model):
            return self._policy(batch, temperature)

    def gpu(self) -> str | None:
        """Return the UUID of this rank's GPU; None on the CPU."""
        device = self._policy.device
        return None if device.type == "cpu" else str(torch.cuda.get_device_properties(device).uuid)
