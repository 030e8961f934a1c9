"""The learner's forward pass against the plain Hugging Face model, and gradients against the cut of the batch."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from configs.training import LoraConfig
from env.chat import ChatFormat
from env.trajectory import Trajectory
from env.transcript import Transcript, Turn
from learner.model.batch import collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.micro_batches import micro_batches
from learner.model.scorer import Scorer
from learner.model.trainable import train_only
from tools.decoding.video import read_frame


@pytest.fixture
def scorer(model_dir: Path, processor: Any, chat: ChatFormat) -> Scorer:
    return Scorer.from_pretrained(str(model_dir), torch.float32, Normalise(processor.image_processor), chat.banned_ids)


def plain_logprobs(
    model: Qwen3VLForConditionalGeneration,
    trajectory: Trajectory,
    processor: Any,
    patches: FramePatches,
    chat: ChatFormat,
) -> torch.Tensor:
    """One trajectory, unpadded, as a user of transformers would compute it."""
    transcript = trajectory.transcript
    images = [torch.from_numpy(read_frame(frame).copy()).permute(2, 0, 1) for frame in transcript.frames]
    inputs = processor.image_processor(images=images, return_tensors="pt")
    ids = torch.tensor([transcript.ids])
    logits = model(input_ids=ids, mm_token_type_ids=(ids == chat.image_token_id).int(), **inputs).logits[0]
    logits[:, list(chat.banned_ids)] = -torch.inf
    logprobs = logits[:-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return logprobs[torch.tensor(transcript.sampled[1:])]


def test_scores_and_gradients_are_the_plain_models(
    scorer: Scorer,
    model_dir: Path,
    trajectories: list[Trajectory],
    processor: Any,
    patches: FramePatches,
    chat: ChatFormat,
) -> None:
    plain = Qwen3VLForConditionalGeneration.from_pretrained(model_dir)
    expected = torch.cat([plain_logprobs(plain, t, processor, patches, chat) for t in trajectories])
    logprobs, entropy = scorer(collate(trajectories, None, patches, chat))
    torch.testing.assert_close(logprobs, expected, atol=2e-5, rtol=1e-5)
    assert bool((entropy > 0).all())
    weights = torch.linspace(-1, 1, len(expected))
    (expected * weights).sum().backward()
    (logprobs * weights).sum().backward()
    gradients = dict(scorer.model.named_parameters())
    for name, parameter in plain.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradients[name].grad, parameter.grad, atol=1e-4 * scale + 1e-7, rtol=1e-3, msg=name)


@pytest.mark.parametrize("max_tokens", [1, 400])
def test_gradients_do_not_depend_on_the_cut(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat, max_tokens: int
) -> None:
    def gradients(tokens: int, ranks: int) -> dict[str, torch.Tensor]:
        scorer.zero_grad()
        for share in micro_batches([len(t.transcript.ids) for t in trajectories], tokens, ranks):
            for indices in share:
                batch = collate([trajectories[i] for i in indices], None, patches, chat)
                logprobs, _ = scorer(batch)
                (logprobs * batch.targets / batch.lengths).sum().backward()
        return {name: p.grad.clone() for name, p in scorer.named_parameters()}

    whole, cut = gradients(10**6, 1), gradients(max_tokens, 2)
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, atol=1e-5 * float(gradient.abs().max()), rtol=1e-3, msg=name)


def test_padding_and_neighbours_do_not_reach_a_trajectory(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> None:
    with torch.no_grad():
        together, _ = scorer(collate(trajectories, None, patches, chat))
        alone = torch.cat([scorer(collate([t], None, patches, chat))[0] for t in trajectories])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_without_frames_every_module_still_takes_part(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> None:
    transcript = Transcript()
    transcript.append_prompt(chat.prompt("look", ("what is it?",)))
    transcript.append_turn(Turn(chat.encode("red"), (0.0,) * len(chat.encode("red")), "red", "stop"))
    logprobs, _ = scorer(collate([dataclasses.replace(trajectories[0], transcript=transcript)], None, patches, chat))
    logprobs.sum().backward()
    assert all(p.grad is not None for p in scorer.parameters())
    tower = [p.grad for name, p in scorer.named_parameters() if ".visual." in name]
    assert not any(gradient.any() for gradient in tower)


def test_a_frozen_tower_still_trains_its_mergers(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> None:
    train_only(scorer.model, ["language", "projector"], LoraConfig())
    scorer(collate(trajectories, None, patches, chat))[0].sum().backward()
    trained = {name for name, p in scorer.named_parameters() if p.grad is not None}
    tower = {name for name, _ in scorer.named_parameters() if ".visual." in name}
    assert trained & tower == {name for name in tower if "merger" in name}
    assert len(trained - tower) == len(list(scorer.parameters())) - len(tower)
