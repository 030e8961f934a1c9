"""The limit of a GRPO update: a plain loop over tensors that lie ready, with no Ray, no DeepSpeed and no collation.

The model is Hugging Face's own, as it loads, with PyTorch's attention; each frame goes through the vision tower as
often as it is shown, as the model's processor gives it. What is spared a plain loop too: positions lie ready, right
padding needs no mask, and logits exist for sampled tokens alone. With `own_forward` the loop is the same and the
forward pass that of the learner, which spares frames shown twice: what is then left between the two is Ray, DeepSpeed
and collation.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import AutoImageProcessor, Qwen3VLForConditionalGeneration

from configs import Config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.batch import Batch, collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.micro_batches import micro_batches
from learner.model.scorer import Scorer

FRAME_CACHE_BYTES = 2**28
TEMPORAL_PATCH = 2
"""Frames of a patch of Qwen3-VL; a still is shown so many times."""


@dataclass(frozen=True)
class Ready:
    """A micro-batch as the Hugging Face model takes it."""

    batch: Batch
    pixel_values: torch.Tensor
    """[patches, 3 * temporal patch * patch * patch] float32, frames in reading order."""
    grid_thw: torch.Tensor
    """[frames shown, 3] int64."""


class BarePytorch:
    """Becomes a Ray actor, so that it has a process and threads of its own; a step inside it knows nothing of Ray."""

    def __init__(self, config: Config, model_dir: str, *, own_forward: bool = False) -> None:
        torch.set_num_threads(config.ranks.cpus_per_rank)
        self._config = config
        self._chat = ChatFormat.from_pretrained(model_dir)
        processor = AutoImageProcessor.from_pretrained(model_dir)
        self._patches = FramePatches(processor, FRAME_CACHE_BYTES)
        self._normalise = Normalise(processor)
        self._scorer: Scorer | None = None
        if own_forward:
            self._scorer = Scorer.from_pretrained(model_dir, torch.float32, self._normalise, self._chat.banned_ids)
            self._model = self._scorer.model.train()
        else:
            self._model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir, dtype=torch.float32).train()
        if config.ranks.gradient_checkpointing:
            self._model.gradient_checkpointing_enable({"use_reentrant": False})
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), betas=(0.9, config.ranks.beta2), weight_decay=0.0, fused=True
        )
        self._ready: list[Ready] = []
        self._banned = list(self._chat.banned_ids)

    def prepare(self, trajectories: Sequence[Trajectory], advantages: Sequence[float]) -> int:
        """Make the tensors of the next step, cut as the learner cuts them; how many forward passes they are."""
        lengths = [len(trajectory.transcript.ids) for trajectory in trajectories]
        (passes,) = micro_batches(lengths, self._config.ranks.micro_batch_tokens)
        self._ready = []
        for part in passes:
            picked = [trajectories[i] for i in part]
            batch = collate(picked, [advantages[i] for i in part], self._patches, self._chat)
            self._ready.append(Ready(batch, *pixels_of(picked, self._patches, self._normalise)))
        self._trajectories = len(trajectories)
        return len(passes)

    def step(self, lr: float, *, whole_logits: bool = False) -> dict[str, float]:
        """One update on what was prepared; its loss, gradient norm and seconds.

        Args:
            whole_logits: of every token, and their softmax, as the model gives them to who just calls it.
        """
        started = time.monotonic()
        total = 0.0
        for ready in self._ready:
            batch = ready.batch
            logprobs = self._logprobs(ready, whole_logits)
            ratio, clip = (logprobs - batch.sampler_logprobs).exp(), self._config.grpo.clip
            surrogate = torch.minimum(ratio * batch.advantages, ratio.clamp(1 - clip, 1 + clip) * batch.advantages)
            loss = -(surrogate / (batch.lengths * self._trajectories)).sum()
            loss.backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.grpo.max_grad_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad()
        return {"loss": total, "grad_norm": float(norm), "seconds": time.monotonic() - started}

    def _logprobs(self, ready: Ready, whole_logits: bool) -> torch.Tensor:
        batch = ready.batch
        if self._scorer is not None:
            logprobs, _ = self._scorer(batch, self._config.sampling.temperature)
            return logprobs
        inputs = {
            "input_ids": batch.ids,
            "position_ids": batch.position_ids,
            "mm_token_type_ids": batch.mm_token_type_ids,
            "pixel_values": ready.pixel_values,
            "image_grid_thw": ready.grid_thw,
            "use_cache": False,
        }
        rows, before = batch.rows, batch.columns - 1
        if whole_logits:
            logprobs = self._distribution(self._model(**inputs).logits)[rows, before]
        else:
            hidden = self._model.model(**inputs).last_hidden_state[rows, before]
            logprobs = self._distribution(self._model.lm_head(hidden))
        return logprobs.gather(-1, batch.targets[:, None])[:, 0]

    def _distribution(self, logits: torch.Tensor) -> torch.Tensor:
        """What the sampler draws from."""
        logits = logits / self._config.sampling.temperature
        return logits.index_fill(-1, torch.tensor(self._banned), -torch.inf).log_softmax(-1)


def pixels_of(
    trajectories: Sequence[Trajectory], patches: FramePatches, normalise: Normalise
) -> tuple[torch.Tensor, torch.Tensor]:
    """`pixel_values` and `image_grid_thw` of all frames shown, as Hugging Face's model takes them; see `Ready`."""
    shown = [frame for trajectory in trajectories for frame in trajectory.transcript.frames]
    stills = normalise(torch.cat([torch.from_numpy(frame) for frame in patches.load(shown)]))
    pixels = stills.unsqueeze(2).expand(-1, -1, TEMPORAL_PATCH, -1, -1).flatten(1)
    return pixels, torch.tensor([(1, *patches.grid(frame)) for frame in shown])
