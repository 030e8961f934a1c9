"""Trajectories to tensors: what one forward pass eats.

Invariant: ids, masks and logprobs are those of the transcript, token for token; nothing is tokenized here. Whether
trajectories lie in rows of their own or end to end in one changes neither the loss nor the gradient.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from env.chat import ChatFormat
from env.trajectory import Trajectory
from env.transcript import Transcript
from learner.model.frame_patches import FramePatches
from tools.decoding.frame import BusyError, FrameRef, VideoError

_log = logging.getLogger(__name__)
OPENINGS = ("<tool_call>", "<answer>")
"""What opens the second and third of `losses.TOKEN_KINDS` in a turn."""


@dataclass(frozen=True)
class Batch:
    """B trajectories with F different frames and N sampled tokens, in R rows of T tokens: each in a row of its own,
    padded on the right (R = B), or packed, all end to end in one row (R = 1)."""

    ids: torch.Tensor
    """[R, T] int64."""
    bounds: torch.Tensor
    """[B + 1] int32, where each trajectory begins in `ids.flatten()`, and the end."""
    attention_mask: torch.Tensor
    """[R, T] bool, False on padding. Causal attention over right padding needs no mask; this is for other readers."""
    mm_token_type_ids: torch.Tensor
    """[R, T] int64, 1 on the placeholder tokens of frames."""
    position_ids: torch.Tensor
    """[3, R, T] int64, M-RoPE time, row and column, from 0 for each trajectory; 0 on padding."""
    pixels: torch.Tensor
    """[patches, 3, patch, patch] uint8, each different frame once, frames of one size next to each other."""
    grid_thw: torch.Tensor
    """[F, 3] int64, patches of each different frame: 1, rows, columns."""
    frame_tokens: torch.Tensor
    """[placeholder tokens of the batch] int64: for each in reading order, its row in the vision tower's output."""
    rows: torch.Tensor
    """[N] int64, the trajectory of each sampled token."""
    columns: torch.Tensor
    """[N] int64, its place in its trajectory."""
    sampler_logprobs: torch.Tensor
    """[N] float32."""
    versions: torch.Tensor
    """[N] int64, policy version that sampled it."""
    kinds: torch.Tensor
    """[N] int64, index into `losses.TOKEN_KINDS`."""
    lengths: torch.Tensor
    """[N] float32, sampled tokens of its trajectory."""
    advantages: torch.Tensor
    """[N] float32, advantage of its trajectory; zeros if none were given."""
    readable: torch.Tensor
    """[B] bool, False for a trajectory of which a frame can't be read any more: black stands in the place of its
    frames, and it is computed like the others and left out of the loss."""

    @property
    def kept(self) -> torch.Tensor:
        """[N] bool, the sampled tokens that count: those of readable trajectories."""
        return self.readable[self.rows]

    @property
    def packed(self) -> bool:
        """Return whether a row holds several trajectories, so that attention must keep to the bounds."""
        return len(self.ids) < len(self.bounds) - 1

    @property
    def places(self) -> torch.Tensor:
        """[N] int64, place of each sampled token in `ids.flatten()`."""
        return self.bounds[self.rows] + self.columns

    @property
    def targets(self) -> torch.Tensor:
        """[N] int64, the sampled ids."""
        return self.ids.flatten()[self.places]

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def collate(
    trajectories: Sequence[Trajectory],
    advantages: Sequence[float] | None,
    patches: FramePatches,
    chat: ChatFormat,
    *,
    packed: bool = False,
) -> Batch:
    """Make the batch of these trajectories, padded to the longest or, `packed`, end to end in one row. A frame that
    can't be read any more changes nothing of its shape; see `Batch.readable`. Raises ValueError, by task id, for a
    transcript that breaks its own promises: ragged lists, frames that do not lie on placeholders, or a sampled token
    that can't be sampled."""
    transcripts = [trajectory.transcript for trajectory in trajectories]
    for trajectory in trajectories:
        _check(trajectory, chat, patches)
    order = {ref: None for transcript in transcripts for ref in transcript.frames}
    refs = sorted(order, key=lambda ref: (ref.height, ref.width))
    grids = [patches.grid(ref) for ref in refs]
    sampled = [np.flatnonzero(transcript.sampled) for transcript in transcripts]
    counts = np.array([len(columns) for columns in sampled])
    rows = np.repeat(np.arange(len(transcripts)), counts)
    lengths = np.array([len(transcript.ids) for transcript in transcripts])
    kept = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(kept.shape, chat.pad_id, np.int64)
    ids[kept] = np.concatenate([transcript.ids for transcript in transcripts])
    positions = _positions(transcripts, kept.shape[1], patches)
    bounds = np.arange(len(ids) + 1) * kept.shape[1]
    if packed:
        ids, positions, bounds = ids[kept][None], positions[:, kept][:, None], np.cumsum([0, *lengths])
        kept = np.ones_like(ids, bool)
    tags = [chat.encode(opening) for opening in OPENINGS]
    nothing = np.zeros((0, 3, patches.patch, patches.patch), np.uint8)
    pixels, readable = _load(trajectories, refs, patches)
    values = np.zeros(len(transcripts)) if advantages is None else np.asarray(advantages, np.float64)
    return Batch(
        ids=torch.from_numpy(ids),
        bounds=torch.from_numpy(bounds.astype(np.int32)),
        attention_mask=torch.from_numpy(kept),
        mm_token_type_ids=torch.from_numpy(((ids == chat.image_token_id) & kept).astype(np.int64)),
        position_ids=torch.from_numpy(positions),
        pixels=torch.from_numpy(np.concatenate([nothing, *pixels])),
        grid_thw=torch.tensor([(1, *grid) for grid in grids], dtype=torch.long).reshape(-1, 3),
        frame_tokens=_frame_tokens(transcripts, refs, grids, patches.merge),
        rows=torch.from_numpy(rows),
        columns=torch.from_numpy(np.concatenate(sampled)),
        sampler_logprobs=_of_sampled([transcript.logprobs for transcript in transcripts], sampled, np.float32),
        versions=_of_sampled([transcript.versions for transcript in transcripts], sampled, np.int64),
        kinds=_of_sampled([_kinds(transcript, tags) for transcript in transcripts], sampled, np.int64),
        lengths=torch.from_numpy(counts[rows].astype(np.float32)),
        advantages=torch.from_numpy(values[rows].astype(np.float32)),
        readable=torch.tensor(readable),
    )


def _load(
    trajectories: Sequence[Trajectory], refs: Sequence[FrameRef], patches: FramePatches
) -> tuple[list[np.ndarray], list[bool]]:
    """Load the patches of each frame, and say of each trajectory whether all of its frames could be read; what could
    not is black."""
    try:
        return patches.load(refs), [True] * len(trajectories)
    except BusyError:
        raise
    except VideoError:  # one by one, to find whose frame it is; of that trajectory no other frame is waited for
        found: dict[FrameRef, np.ndarray] = {}
        readable = []
        for trajectory in trajectories:
            frames = trajectory.transcript.frames
            try:
                found.update(zip(frames, patches.load(frames), strict=True))
            except VideoError as error:
                _log.warning(
                    "task %s: a trajectory has no weight, as a frame of it is gone: %s", trajectory.task_id, error
                )
            readable.append(all(frame in found for frame in frames))
        return [found[ref] if ref in found else patches.black(ref) for ref in refs], readable


def _check(trajectory: Trajectory, chat: ChatFormat, patches: FramePatches) -> None:
    transcript, where = trajectory.transcript, f"task {trajectory.task_id}"
    ids = np.asarray(transcript.ids)
    if not len(ids) == len(transcript.sampled) == len(transcript.logprobs) == len(transcript.versions):
        raise ValueError(f"{where}: ids, sampled, logprobs and versions of its transcript differ in length")
    sampled = np.asarray(transcript.sampled, bool)
    if sampled[:1].any():
        raise ValueError(f"{where}: its first token is marked as sampled, but nothing precedes it")
    banned = np.isin(ids[sampled], chat.banned_ids)
    if banned.any():
        raise ValueError(f"{where}: token {ids[sampled][banned][0]} is marked as sampled, but can't be sampled")
    spans = np.zeros(len(ids), bool)
    for media in transcript.media:
        rows, columns = patches.grid(media.frame)
        if media.tokens != rows * columns // patches.merge**2:
            raise ValueError(f"{where}: {media.tokens} tokens for a frame of {rows}x{columns} patches")
        spans[media.start : media.start + media.tokens] = True
    if not np.array_equal(spans, ids == chat.image_token_id):
        raise ValueError(f"{where}: its frames do not lie on its placeholder tokens")


def _positions(transcripts: Sequence[Transcript], width: int, patches: FramePatches) -> np.ndarray:
    """[3, B, width] int64: what Qwen3-VL's `get_rope_index` gives, by slices instead of by tokens. Text counts up; a
    frame starts where the text stopped, spreads over rows and columns, and takes as many steps as its longer side."""
    positions = np.zeros((3, len(transcripts), width), np.int64)
    for row, transcript in zip(positions.transpose(1, 0, 2), transcripts, strict=True):
        end = place = 0
        for media in transcript.media:
            row[:, end : media.start] = np.arange(place, place + media.start - end)
            place += media.start - end
            height, length = (side // patches.merge for side in patches.grid(media.frame))
            span = row[:, media.start : media.start + media.tokens]
            span[:] = place
            span[1] += np.repeat(np.arange(height), length)
            span[2] += np.tile(np.arange(length), height)
            place += max(height, length)
            end = media.start + media.tokens
        row[:, end : len(transcript.ids)] = np.arange(place, place + len(transcript.ids) - end)
    return positions


def _frame_tokens(
    transcripts: Sequence[Transcript], refs: Sequence[FrameRef], grids: Sequence[tuple[int, int]], merge: int
) -> torch.Tensor:
    sizes = [rows * columns // merge**2 for rows, columns in grids]
    starts = np.cumsum([0, *sizes])
    spans = {ref: np.arange(starts[i], starts[i] + sizes[i]) for i, ref in enumerate(refs)}
    tokens = [spans[ref] for transcript in transcripts for ref in transcript.frames]
    return torch.from_numpy(np.concatenate(tokens) if tokens else np.zeros(0, np.int64))


def _of_sampled(
    rows: Sequence[Sequence[float] | np.ndarray], sampled: Sequence[np.ndarray], dtype: type
) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.asarray(r, dtype)[s] for r, s in zip(rows, sampled, strict=True)]))


def _kinds(transcript: Transcript, tags: Sequence[tuple[int, ...]]) -> np.ndarray:
    """[tokens]: within each turn, thought until a call or an answer opens."""
    ids, sampled = transcript.ids, np.asarray(transcript.sampled, bool)
    kinds = np.zeros(len(ids), np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sampled, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        for kind, tag in enumerate(tags, 1):
            at = next((i for i in range(start, end) if tuple(ids[i : i + len(tag)]) == tag), end)
            kinds[at:end] = kind
    return kinds
