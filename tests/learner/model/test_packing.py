"""Packed forward passes against padded ones and the plain model, and what exists in memory meanwhile."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.batch import Batch, collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.scorer import Scorer
from learner.objective import logprobs
from tests.learner.trajectories import make_trajectory


@pytest.fixture
def scorer(model_dir: Path, processor: Any, chat: ChatFormat) -> Scorer:
    normalise = Normalise(processor.image_processor)
    return Scorer.from_pretrained(str(model_dir), torch.float32, normalise, chat.banned_ids).train()


def scores_and_gradients(scorer: Scorer, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    scorer.zero_grad()
    logprobs, entropy = scorer(batch, 0.7)
    (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
    return logprobs.detach(), entropy, {name: p.grad.clone() for name, p in scorer.named_parameters()}


def require_same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(ours[name], gradient, atol=1e-5 * scale + 1e-8, rtol=1e-5, msg=name)


def test_packed_trajectories_score_and_learn_as_padded_ones(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> None:
    padded = scores_and_gradients(scorer, collate(trajectories, None, patches, chat))
    packed = scores_and_gradients(scorer, collate(trajectories, None, patches, chat, packed=True))
    for ours, theirs in zip(packed[:2], padded[:2], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    require_same_gradients(packed[2], padded[2])


def test_a_packed_batch_is_the_padded_one_without_its_padding(
    trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> None:
    advantages = [float(i) for i in range(len(trajectories))]
    padded = collate(trajectories, advantages, patches, chat)
    packed = collate(trajectories, advantages, patches, chat, packed=True)
    kept = padded.attention_mask
    assert packed.packed
    assert not padded.packed
    assert packed.ids.shape == (1, int(kept.sum()))
    assert bool(packed.attention_mask.all())
    assert torch.equal(packed.ids[0], padded.ids[kept])
    assert torch.equal(packed.mm_token_type_ids[0], padded.mm_token_type_ids[kept])
    assert torch.equal(packed.position_ids[:, 0], padded.position_ids[:, kept])
    assert not packed.position_ids[:, 0, packed.bounds[:-1]].any(), "positions begin anew for each trajectory"
    same = ("targets", "rows", "columns", "frame_tokens", "pixels", "lengths", "advantages", "sampler_logprobs")
    for field in same:
        assert torch.equal(getattr(packed, field), getattr(padded, field)), field


def test_packed_neighbours_do_not_reach_a_trajectory(
    scorer: Scorer, chat: ChatFormat, folder: Path, patches: FramePatches
) -> None:
    """Another neighbour of the same length, with other words and another frame of the same size, changes no bit."""
    middle, last = make_trajectory(chat, folder, 1, frames=(1, 2)), make_trajectory(chat, folder, 4, turns=(3,))
    pack = [
        collate([make_trajectory(chat, folder, 7, frames=(number,)), middle, last], None, patches, chat, packed=True)
        for number in (0, 3)
    ]
    assert torch.equal(pack[0].bounds, pack[1].bounds)
    with torch.no_grad():
        one, other = (scorer(batch)[0] for batch in pack)
    mine = pack[0].rows > 0
    assert torch.equal(one[mine], other[mine])
    assert not torch.equal(one[~mine], other[~mine])


def test_trajectories_without_frames_can_be_packed(
    scorer: Scorer, chat: ChatFormat, folder: Path, patches: FramePatches
) -> None:
    texts = [make_trajectory(chat, folder, seed, frames=(), turns=(6 + seed,)) for seed in range(3)]
    padded = scores_and_gradients(scorer, collate(texts, None, patches, chat))
    packed = scores_and_gradients(scorer, collate(texts, None, patches, chat, packed=True))
    torch.testing.assert_close(packed[0], padded[0], atol=1e-5, rtol=1e-5)
    require_same_gradients(packed[2], padded[2])


class Shapes(TorchDispatchMode):
    """Remembers the shape of every tensor that an operation gives, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.seen |= {tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)}
        return result


@pytest.mark.parametrize("checkpointed", [False, True])
def test_nothing_as_large_as_tokens_by_vocabulary_or_tokens_squared_exists(
    scorer: Scorer,
    trajectories: list[Trajectory],
    patches: FramePatches,
    chat: ChatFormat,
    checkpointed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vocabulary, rows, width = len(scorer.banned), 16, scorer.model.config.text_config.hidden_size
    monkeypatch.setattr(logprobs, "LOGITS_PER_CHUNK", rows * vocabulary)
    if checkpointed:
        scorer.model.gradient_checkpointing_enable({"use_reentrant": False})
    batch = collate(trajectories, None, patches, chat, packed=True)
    longest = int(batch.bounds.diff().max())
    assert 2 * rows < len(batch.targets) != width
    with Shapes() as shapes:
        scorer(batch)[0].sum().backward()
    logits = {shape for shape in shapes.seen if shape[-1:] == (vocabulary,)} - {(width, vocabulary)}  # the head's
    assert (rows, vocabulary) in logits
    assert not [shape for shape in logits if torch.Size(shape[:-1]).numel() > rows]
    assert not [shape for shape in shapes.seen if len(shape) > 1 and min(shape[-2:]) > longest], "no mask over the pack"


def test_checkpointing_keeps_less_and_changes_nothing_of_a_pack(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> None:
    batch = collate(trajectories, None, patches, chat, packed=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.nbytes) or t,  # type: ignore[func-returns-value]
        lambda t: t,
    ):
        plain = scores_and_gradients(scorer, batch)
        whole = sum(kept)
        kept.clear()
        scorer.model.gradient_checkpointing_enable({"use_reentrant": False})
        again = scores_and_gradients(scorer, batch)
    assert sum(kept) < 0.8 * whole
    torch.testing.assert_close(again[0], plain[0], atol=1e-6, rtol=1e-6)
    require_same_gradients(again[2], plain[2])
