"""The updates of a rank: its share of a batch, forward and backward, then one step of the optimizer.

Invariants:
- What a rank does depends only on its arguments, its rank and the world size, so all ranks cut a batch alike and walk
  through the same collectives in the same order; a part without work, or whose pictures can't be read any more, is
  computed all the same and counts zero.
- An update whose loss or gradient is not finite on any rank, or of whose batch nothing can be read, is made on none
  (`_is_good`).
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from configs.run import Config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.batch import Batch, collate
from learner.model.frame_patches import FramePatches
from learner.model.micro_batches import micro_batches, mini_batches
from learner.objective import losses
from learner.objective.ratios import kl_estimate
from learner.ranks.deepspeed_policy import DeepSpeedPolicy

_log = logging.getLogger(__name__)
Loss = Callable[[Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
Scores = Callable[[Batch, float], tuple[torch.Tensor, torch.Tensor]]
"""A batch and the sampler's temperature to log-probabilities and entropies."""


class Updates:
    """The updates of one rank; every method is called on all ranks at once."""

    def __init__(
        self,
        config: Config,
        policy: DeepSpeedPolicy,
        reference: Scores | None,
        patches: FramePatches,
        chat: ChatFormat,
        rank: int,
    ) -> None:
        self._config, self._policy, self._reference = config, policy, reference
        self._patches, self._chat, self._rank = patches, chat, rank
        self._device = policy.device
        self._decoding = ThreadPoolExecutor(1, "load-ahead")
        self._loading_s = 0.0
        self._bad_in_a_row = 0
        """Updates since the last one that was made, the same on all ranks."""

    def sft_step(
        self, trajectories: Sequence[Trajectory], lr: float, upcoming: Sequence[Trajectory]
    ) -> dict[str, float]:
        """Make one supervised update; the frames of the `upcoming` trajectories are decoded meanwhile. Returns this
        rank's sums; see `RankGroup.sft_step`."""
        started = time.monotonic()
        tokens = sum(trajectory.transcript.sampled_tokens for trajectory in trajectories)

        def loss(batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            logprobs, entropy = self._policy(batch)
            kept = batch.kept
            return losses.sft_loss(logprobs[kept], entropy[kept], batch.kinds[kept], tokens)

        sums = self._update(trajectories, None, loss, lr, self._config.sft.weight_decay, upcoming)
        return {**sums, **self._times(started)}

    def grpo_step(
        self, trajectories: Sequence[Trajectory], advantages: Sequence[float], lr: float, version: int
    ) -> dict[str, float]:
        """Make the GRPO updates of one step with the weights of `version`. Returns this rank's sums over the updates
        that were made; see `RankGroup.grpo_step`."""
        started = time.monotonic()
        grpo = self._config.grpo
        prompts = -(-grpo.prompts_per_step // grpo.mini_batches)
        cuts = mini_batches([trajectory.task_id for trajectory in trajectories], prompts)
        minis = [[trajectories[i] for i in cut] for cut in cuts]
        # Before the first update pi_theta is pi_old; only what comes after needs it computed ahead.
        later = [self._old_logprobs(mini) for mini in minis[1:]]
        parts: list[dict[str, float]] = []
        for cut, mini, old in zip(cuts, minis, [None, *later], strict=True):
            moved = any(part["updates"] for part in parts)
            loss = self._grpo_loss(mini, None if moved else version, old)
            parts.append(self._update(mini, [advantages[i] for i in cut], loss, lr, self._config.grpo.weight_decay))
        return {**losses.merge(parts), **self._times(started)}

    def _times(self, started: float) -> dict[str, float]:
        """Seconds of a step, and how many of them went into making tensors of its frames and ids."""
        loading_s, self._loading_s = self._loading_s, 0.0
        return {"seconds_max": time.monotonic() - started, "loading_seconds_max": loading_s}

    def _grpo_loss(self, mini: Sequence[Trajectory], version: int | None, old: list[torch.Tensor] | None) -> Loss:
        """Build the loss of a mini-batch, to be called on its passes in their order; `old` is log pi_old of each where
        it is neither the engine's nor what the policy gives now."""
        config, temperature = self._config.grpo, self._config.sampling.temperature
        tokens, ahead = sum(trajectory.transcript.sampled_tokens for trajectory in mini), iter(old or ())

        def loss(batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            reference = None
            if self._reference is not None and config.kl_in == "loss":
                with torch.no_grad():
                    reference, _ = self._reference(batch, temperature)
            logprobs, entropy = self._policy(batch, temperature, config.entropy_coef != 0)
            fresh = batch.versions == version if version is not None else torch.zeros_like(batch.versions).bool()
            pi_old = batch.sampler_logprobs
            if config.old_logprobs == "learner":
                pi_old = logprobs.detach() if old is None else next(ahead)
            inputs = losses.LossInputs(
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
            return losses.policy_loss(inputs.only(batch.kept), config)

        return loss

    def _old_logprobs(self, mini: Sequence[Trajectory]) -> list[torch.Tensor] | None:
        """log pi_old [N] of each of this rank's passes over a later mini-batch; None if it is the engine's."""
        if self._config.grpo.old_logprobs == "engine":
            return None
        return [self._score(self._policy, batch) for _, batch in self._passes(mini)]

    def reference_kl(self, trajectories: Sequence[Trajectory]) -> dict[int, float]:
        """Estimate KL(pi_old || pi_ref), nats, summed over sampled tokens, of each trajectory of this rank, by index; 0
        for one that can't be read any more. Raises ValueError without a reference."""
        if self._reference is None:
            raise ValueError("the KL to the reference policy needs one: give `reference_dir`")
        config = self._config.grpo
        found: dict[int, float] = {}
        for indices, batch in self._passes(trajectories):
            reference = self._score(self._reference, batch)
            old = batch.sampler_logprobs
            if config.old_logprobs == "learner":
                old = self._score(self._policy, batch)
            kl = torch.zeros(max(1, len(indices)), dtype=torch.float64, device=self._device)
            estimate = kl_estimate(old, reference, config.kl_estimator).double()
            kl.index_add_(0, batch.rows, estimate.where(batch.kept, 0.0))
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
        """Yield the passes of this rank: their indices, none where there is no work, and their tensors."""
        plan = self._plan(trajectories)
        shortest = min(range(len(trajectories)), key=lambda i: len(trajectories[i].transcript.ids))
        self._load_ahead([trajectories[i] for indices in plan[1:] for i in indices], upcoming)
        for indices in plan:
            mine = indices or (shortest,)
            given = None if advantages is None else [advantages[i] for i in mine]
            chosen = [trajectories[i] for i in mine]
            started = time.monotonic()
            batch = collate(chosen, given, self._patches, self._chat, packed=self._config.ranks.packing)
            self._loading_s += time.monotonic() - started
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
        parts, unreadable, last = [], 0, len(self._plan(trajectories))
        for number, (indices, batch) in enumerate(self._passes(trajectories, advantages, upcoming), 1):
            weight = 1.0 if indices and bool(batch.readable.any()) else 0.0
            unreadable += int((~batch.readable).sum()) if indices else 0
            if not weight:  # computed whole, so that the last pass has a gradient
                batch = replace(batch, readable=torch.ones_like(batch.readable))
            value, sums = loss(batch)
            if weight:
                parts.append({key: float(total) for key, total in sums.items()})
            if number == last and not self._is_good(losses.merge(parts)):
                weight = math.nan  # a gradient that is not finite is dropped with all that was added up before
            self._policy.backward(value * weight)
        norm = self._policy.step(lr, weight_decay)
        made = math.isfinite(norm)
        if not made and self._rank == 0:
            _log.warning("an update is left out: the norm of its gradient is %s", norm)
        self._bad_in_a_row = 0 if made else self._bad_in_a_row + 1
        return {
            **({**losses.merge(parts), "grad_norm": norm} if made else {}),
            "updates": float(made),
            "bad_updates": float(not made),
            "bad_in_a_row_max": float(self._bad_in_a_row),
            "unreadable_trajectories": float(unreadable),
        }

    def _is_good(self, sums: dict[str, float]) -> bool:
        """Whether the update is to be made, for all ranks from the sums of all: each loss is finite, and there are
        tokens to learn from."""
        finite = math.isfinite(sums.get("loss", 0.0))
        if not finite:
            _log.warning("rank %d: the loss of its share of an update is %s", self._rank, sums["loss"])
        tokens, broken = self._policy.total(sums.get("tokens", 0.0), float(not finite))
        return tokens > 0 and not broken

    def _plan(self, trajectories: Sequence[Trajectory]) -> list[tuple[int, ...]]:
        ranks = self._config.ranks
        lengths = [len(trajectory.transcript.ids) for trajectory in trajectories]
        return micro_batches(lengths, ranks.micro_batch_tokens, ranks.ranks, packed=ranks.packing)[self._rank]

    def _load_ahead(self, rest: list[Trajectory], upcoming: Sequence[Trajectory]) -> None:
        """Decode what the later passes need, then what the next step does, beside the computation."""
        later = [*rest, *(upcoming[i] for indices in (self._plan(upcoming) if upcoming else []) for i in indices)]
        frames = [frame for trajectory in later for frame in trajectory.transcript.frames]
        self._decoding.submit(self._patches.load_ahead, frames)
