"""Batches against the model's own processor, and the cutting of a step."""

import dataclasses
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import Qwen3VLForConditionalGeneration

from env.chat import ChatFormat
from env.trajectory import Trajectory
from env.transcript import Transcript, unexpanded
from learner.model.batch import Batch, collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.micro_batches import micro_batches, mini_batches
from learner.objective.losses import TOKEN_KINDS
from tests.learner.trajectories import make_trajectory, write_frame
from tools.decoding.frame import FrameRef, VideoError


def as_processor_gives(batch: Batch, normalise: Normalise) -> torch.Tensor:
    """pixel_values of every frame in reading order, from the batch's different frames."""
    values = normalise(batch.pixels).unsqueeze(2).expand(-1, -1, 2, -1, -1).flatten(1)
    merged = values.unflatten(0, (-1, 4))[batch.frame_tokens]
    return merged.flatten(0, 1)


def test_a_batch_holds_what_the_processor_makes_of_the_same_episode(
    trajectories: list[Trajectory], chat: ChatFormat, patches: FramePatches, processor: Any
) -> None:
    batch = collate(trajectories, None, patches, chat)
    texts, images = [], []
    for trajectory in trajectories:
        texts.append(chat.decode(unexpanded(trajectory.transcript.ids, trajectory.transcript.media)))
        images.append([Image.open(frame.path) for frame in trajectory.transcript.frames])
    pixels = processor.image_processor(images=list(chain(*images)), return_tensors="pt")
    assert torch.equal(as_processor_gives(batch, Normalise(processor.image_processor)), pixels.pixel_values)
    for row, (text, shown) in enumerate(zip(texts, images, strict=True)):
        alone = processor(text=[text], images=shown, return_tensors="pt", return_mm_token_type_ids=True)
        count = len(trajectories[row].transcript.ids)
        # Random ids need not survive a round trip through text, but their frames and types do where they do.
        if alone.input_ids.shape[1] == count and torch.equal(alone.input_ids[0], batch.ids[row, :count]):
            assert torch.equal(alone.mm_token_type_ids[0].long(), batch.mm_token_type_ids[row, :count])
        assert torch.equal(batch.mm_token_type_ids[row, :count], (batch.ids[row, :count] == chat.image_token_id).long())
        assert not batch.mm_token_type_ids[row, count:].any()


def test_a_prompt_is_id_for_id_the_processors(
    chat: ChatFormat, folder: Path, patches: FramePatches, processor: Any
) -> None:
    trajectory = make_trajectory(chat, folder, seed=1, frames=(0, 1, 2), turns=(1,))
    batch = collate([trajectory], None, patches, chat)
    text = chat.decode(unexpanded(trajectory.transcript.ids, trajectory.transcript.media)[:-1])
    images = [Image.open(frame.path) for frame in trajectory.transcript.frames]
    alone = processor(text=[text], images=images, return_tensors="pt", return_mm_token_type_ids=True)
    assert torch.equal(batch.ids[:, :-1], alone.input_ids)
    assert torch.equal(batch.mm_token_type_ids[:, :-1], alone.mm_token_type_ids.long())
    assert torch.equal(batch.grid_thw.sort(0).values, alone.image_grid_thw.sort(0).values)


def test_positions_are_the_models_own(
    trajectories: list[Trajectory], chat: ChatFormat, patches: FramePatches, model_dir: Path
) -> None:
    batch = collate(trajectories, None, patches, chat)
    model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir)
    grids = [(1, *patches.grid(frame)) for trajectory in trajectories for frame in trajectory.transcript.frames]
    positions, _ = model.model.get_rope_index(
        batch.ids, batch.mm_token_type_ids, torch.tensor(grids), attention_mask=batch.attention_mask.long()
    )
    assert torch.equal(batch.position_ids, positions)


def test_sampled_tokens_come_with_what_the_sampler_said(
    trajectories: list[Trajectory], chat: ChatFormat, patches: FramePatches
) -> None:
    batch = collate(trajectories, [float(i) for i in range(len(trajectories))], patches, chat)
    transcripts = [trajectory.transcript for trajectory in trajectories]
    flat = [(i, t) for i, transcript in enumerate(transcripts) for t, s in enumerate(transcript.sampled) if s]
    assert list(zip(batch.rows.tolist(), batch.columns.tolist(), strict=True)) == flat
    assert batch.targets.tolist() == [transcripts[i].ids[t] for i, t in flat]
    assert batch.versions.tolist() == [0] * len(flat)
    assert batch.sampler_logprobs.tolist() == pytest.approx([transcripts[i].logprobs[t] for i, t in flat])
    assert batch.lengths.tolist() == [transcripts[i].sampled_tokens for i, _ in flat]
    assert batch.advantages.tolist() == [i for i, _ in flat]


def test_kinds_of_tokens(chat: ChatFormat, folder: Path, patches: FramePatches) -> None:
    transcript = Transcript()
    transcript.append_prompt(chat.prompt("look", ("<answer> what?", write_frame(folder, 0))))
    expected = []
    for text, kinds in (
        ("<think>red</think>|<tool_call>{}</tool_call>", "01"),
        ("<think>so</think>|<answer>red", "02"),
    ):
        for piece, kind in zip(text.split("|"), kinds, strict=True):
            ids = chat.encode(piece)
            for name, value in (("ids", ids), ("sampled", [True] * len(ids)), ("versions", [0] * len(ids))):
                getattr(transcript, name).extend(value)
            transcript.logprobs.extend([0.0] * len(ids))
            expected += [int(kind)] * len(ids)
        transcript.append_prompt(chat.observation(("ok",), transcript.ids))
    trajectory = dataclasses.replace(make_trajectory(chat, folder, 0), transcript=transcript)
    assert collate([trajectory], None, patches, chat).kinds.tolist() == expected
    assert TOKEN_KINDS == ("thought", "call", "answer")


def test_each_different_frame_is_there_once(
    trajectories: list[Trajectory], chat: ChatFormat, patches: FramePatches
) -> None:
    batch = collate([*trajectories, *trajectories], None, patches, chat)
    shown = [frame for trajectory in trajectories for frame in trajectory.transcript.frames]
    assert len(batch.grid_thw) == len(set(shown)) < len(shown)
    assert len(batch.frame_tokens) == int(batch.mm_token_type_ids.sum())


def test_frames_leave_the_cache_once_it_is_full(processor: Any, folder: Path) -> None:
    refs = [write_frame(folder, number).ref for number in range(6)]
    size = 3 * sum(ref.width * ref.height for ref in refs[:2])
    small = FramePatches(processor.image_processor, size)
    first = [patch.copy() for patch in small.load(refs)]
    kept = [patches for ref in refs if (patches := small._patches.get(ref)) is not None]
    assert 0 < sum(patches.nbytes for patches in kept) <= size
    assert all((a == b).all() for a, b in zip(first, small.load(refs), strict=True))


def test_a_frame_that_cannot_be_read_is_told_when_it_is_needed(processor: Any, folder: Path) -> None:
    fresh = FramePatches(processor.image_processor, 2**20)
    good, gone = write_frame(folder, 0).ref, FrameRef(str(folder / "gone.png"), None, 64, 64)
    fresh.load_ahead([gone, good])
    assert fresh._patches.get(good) is not None
    with pytest.raises(VideoError, match=r"gone\.png"):
        fresh.load([good, gone])


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda t: t.logprobs.pop(), "differ in length"),
        (lambda t: t.sampled.__setitem__(0, True), "nothing precedes it"),
        (lambda t: t.ids.__setitem__(-1, 1), "can't be sampled"),
        (lambda t: t.ids.__setitem__(t.media[0].start, 50), "placeholder"),
        (lambda t: t.media.pop(), "placeholder"),
    ],
)
def test_a_broken_transcript_is_refused_by_name(
    chat: ChatFormat, folder: Path, patches: FramePatches, spoil: Callable[..., Any], complaint: str
) -> None:
    trajectory = make_trajectory(chat, folder, 3)
    assert 1 in chat.banned_ids
    spoil(trajectory.transcript)
    with pytest.raises(ValueError, match=f"task-1.*{complaint}"):
        collate([trajectory], None, patches, chat)


def test_a_frame_that_the_processor_would_resize_is_refused(patches: FramePatches) -> None:
    ref = FrameRef("x.png", None, 100, 64)
    with pytest.raises(ValueError, match="100x64 pixels would be resized"):
        patches.grid(ref)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.integers(100, 2000), st.integers(1, 5))
def test_micro_batches_cover_each_trajectory_once_and_are_even(lengths: list[int], max_tokens: int, ranks: int) -> None:
    plan = micro_batches(lengths, max_tokens, ranks)
    assert len(plan) == ranks
    assert len({len(share) for share in plan}) == 1
    passes = [indices for share in plan for indices in share]
    assert sorted(i for indices in passes for i in indices) == list(range(len(lengths)))
    for indices in passes:
        assert len(indices) < 2 or max(lengths[i] for i in indices) * len(indices) <= max_tokens
    if len(lengths) >= ranks:
        assert all(share[0] for share in plan)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.integers(100, 2000), st.integers(1, 5))
def test_packs_cover_each_trajectory_once_and_balance_their_tokens(
    lengths: list[int], max_tokens: int, ranks: int
) -> None:
    plan = micro_batches(lengths, max_tokens, ranks, packed=True)
    assert len(plan) == ranks
    assert len({len(share) for share in plan}) == 1
    passes = [indices for share in plan for indices in share]
    assert sorted(i for indices in passes for i in indices) == list(range(len(lengths)))
    loads = [sum(lengths[i] for i in indices) for indices in passes]
    assert all(len(indices) < 2 or load <= max_tokens for indices, load in zip(passes, loads, strict=True))
    assert max(loads) - min(loads) <= max(lengths)
    if len(lengths) >= ranks:
        assert all(share[0] for share in plan)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.integers(1, 9))
def test_mini_batches_hold_a_number_of_whole_groups(sizes: Any, prompts: Any) -> None:
    task_ids = [f"task-{group}" for group, size in enumerate(sizes) for _ in range(size)]
    cuts = mini_batches(task_ids, prompts)
    assert [i for cut in cuts for i in cut] == list(range(len(task_ids)))
    held = [len({task_ids[i] for i in cut}) for cut in cuts]
    assert sum(held) == len(sizes)
    assert len(cuts) == -(-len(sizes) // prompts)
    assert max(held) <= prompts
    assert max(held) - min(held) <= 1


@pytest.mark.parametrize(("groups", "updates"), [(32, 4), (31, 4), (25, 4), (24, 3), (9, 2), (8, 1), (1, 1), (0, 0)])
def test_fewer_groups_make_fewer_updates(groups: int, updates: int) -> None:
    assert len(mini_batches([f"t{i // 8}" for i in range(8 * groups)], 8)) == updates
