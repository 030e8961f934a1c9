"""A GRPO step as TRL's `GRPOTrainer` takes it, on trajectories that were sampled before.

Only its sampling is left out: `_generate_and_score_completions` gives the prepared tensors. All that follows is TRL's
own, and timed from the beginning of its step to the end: shuffling and splitting, forward passes with log-probabilities
of completion tokens alone and in tiles, loss and metrics, gradient accumulation, clipping, AdamW. Left out, in its
favour: the data loader, tokenizing and preprocessing, and the forward pass over the old weights that it adds where vLLM
samples. Tool output and frames of later turns stand in the completion under its own `tool_mask`.
"""

import queue
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoImageProcessor, AutoProcessor, Qwen3VLForConditionalGeneration, Trainer, TrainerCallback

from benchmarks.peers.bare_pytorch import FRAME_CACHE_BYTES, pixels_of
from configs import Config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.frame_patches import FramePatches, Normalise

Prepared = dict[str, torch.Tensor | list[int]]
"""What TRL samples and prepares for a step, by its own names."""
PATIENCE_S = 600.0
"""Longest that one side waits for the other."""
PER_DEVICE_BATCH = 8
"""TRL's default; most trajectories of one of its forward passes."""


def installed() -> bool:
    """Return whether TRL and what it needs are there."""
    return find_spec("trl") is not None and find_spec("accelerate") is not None


class TrlStep:
    """Becomes a Ray actor. The trainer trains in a thread and waits at each of its steps until it is asked for one."""

    def __init__(
        self, config: Config, model_dir: str, steps: int, trajectories: int, longest: int, folder: str
    ) -> None:
        """Takes how many steps there will be, how many trajectories one has, and the tokens of the longest of all."""
        torch.set_num_threads(config.ranks.cpus_per_rank)
        self._config, self._model_dir = config, model_dir
        self._chat = ChatFormat.from_pretrained(model_dir)
        processor = AutoImageProcessor.from_pretrained(model_dir)
        self._patches, self._normalise = FramePatches(processor, FRAME_CACHE_BYTES), Normalise(processor)
        self._prepared: Prepared = {}
        self._go: queue.Queue[None] = queue.Queue()
        self._done: queue.Queue[float] = queue.Queue()
        self._failure: BaseException | None = None
        self._trainer = self._make_trainer(steps, trajectories, longest, folder)
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def prepare(self, trajectories: Sequence[Trajectory], advantages: Sequence[float]) -> None:
        """Make the tensors of the next step."""
        self._prepared = prepared(trajectories, advantages, self._patches, self._normalise, self._chat)

    def step(self) -> float:
        """One step on what was prepared, seconds.

        Raises:
            RuntimeError: TRL failed or took longer than `PATIENCE_S`.
        """
        self._go.put(None)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                return self._done.get(timeout=1.0)
            except queue.Empty:
                if not self._thread.is_alive():
                    break
        raise RuntimeError(f"TRL's step did not end: {self._failure!r}")

    def _train(self) -> None:
        torch.set_num_threads(self._config.ranks.cpus_per_rank)
        try:
            self._trainer.train()
        except Exception as error:  # noqa: BLE001  # raised by `step`
            self._failure = error

    def _make_trainer(self, steps: int, trajectories: int, longest: int, folder: str) -> Trainer:
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        actor, grpo = self, self._config.grpo

        class PreparedTrainer(GRPOTrainer):
            def _generate_and_score_completions(self, inputs: object) -> Prepared:
                return actor._prepared

        class OnDemand(TrainerCallback):
            def on_step_begin(self, *_: object, **__: object) -> None:
                actor._go.get(timeout=PATIENCE_S)
                self.started = time.perf_counter()

            def on_step_end(self, *_: object, **__: object) -> None:
                actor._done.put(time.perf_counter() - self.started)

        fits = max(1, self._config.ranks.micro_batch_tokens // longest)
        per_device = min(PER_DEVICE_BATCH, 2 ** (fits.bit_length() - 1))
        args = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=self._config.ranks.gradient_checkpointing,
            per_device_train_batch_size=per_device,
            gradient_accumulation_steps=trajectories // per_device,
            num_generations=grpo.group_size,
            max_steps=steps,
            learning_rate=grpo.lr,
            lr_scheduler_type="constant",
            adam_beta2=self._config.ranks.beta2,
            max_grad_norm=grpo.max_grad_norm,
            temperature=self._config.sampling.temperature,
            loss_type="grpo",
            beta=0.0,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        return PreparedTrainer(
            model=Qwen3VLForConditionalGeneration.from_pretrained(self._model_dir, dtype=torch.float32),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=args,
            train_dataset=Dataset.from_dict({"prompt": [[{"role": "user", "content": "x"}]] * trajectories}),
            processing_class=AutoProcessor.from_pretrained(self._model_dir),
            callbacks=[OnDemand()],
        )


def prepared(
    trajectories: Sequence[Trajectory],
    advantages: Sequence[float],
    patches: FramePatches,
    normalise: Normalise,
    chat: ChatFormat,
) -> Prepared:
    """Make what `_generate_and_score_completions` gives.

    Prompts reach to the first sampled token and are padded on the left, completions are the rest, padded on the right;
    in them `tool_mask` is 0 on what was not sampled.
    """
    transcripts = [trajectory.transcript for trajectory in trajectories]
    cut = [(transcript, transcript.sampled.index(True)) for transcript in transcripts]
    prompts = [transcript.ids[:start] for transcript, start in cut]
    completions = [transcript.ids[start:] for transcript, start in cut]
    sampled = [transcript.sampled[start:] for transcript, start in cut]
    pixels, grid = pixels_of(trajectories, patches, normalise)
    prompt_ids, prompt_mask = _padded(prompts, chat.pad_id, left=True)
    completion_ids, completion_mask = _padded(completions, chat.pad_id, left=False)
    tool_mask, _ = _padded(sampled, 1, left=False)
    ids = torch.cat([prompt_ids, completion_ids], 1)
    return {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "tool_mask": tool_mask,
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": (completion_mask * tool_mask).sum(),
        "pixel_values": pixels,
        "image_grid_thw": grid,
        "num_images": [len(transcript.frames) for transcript in transcripts],
        "mm_token_type_ids": (ids == chat.image_token_id).long(),
    }


def _padded(rows: Sequence[Sequence[int]], pad: int, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(values, mask), each [rows, longest] int64."""
    side = "left" if left else "right"
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    values = pad_sequence(tensors, batch_first=True, padding_value=pad, padding_side=side)
    return values, pad_sequence([torch.ones_like(row) for row in tensors], batch_first=True, padding_side=side)
