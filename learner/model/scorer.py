"""Qwen3-VL as the learner runs it: sampled tokens in, their log-probabilities out.

Invariant: the parameters and their names are those of the Hugging Face model, and what it computes is what that model
computes; only work that gives the same result twice is left out: each different frame of a batch goes through the
vision tower once, frames of one size attend in one call, packed trajectories attend each to itself alone, and logits
exist for sampled tokens alone.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, Qwen3VLForConditionalGeneration
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils import ModelOutput
from transformers.vision_utils import get_vision_position_ids

from learner.model.batch import Batch
from learner.model.frame_patches import Normalise
from learner.objective.logprobs import token_logprobs

SEGMENT_ATTENTION = "per_segment_flash"
"""Transformers hands an attention function all frames at once, with their bounds, if its name has `flash` in it; and it
makes no mask for a function that is registered without one."""


class Scorer(nn.Module):
    """The policy (or, frozen, the reference)."""

    def __init__(
        self, model: Qwen3VLForConditionalGeneration, normalise: Normalise, banned_ids: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.model = model
        self._normalise = normalise
        banned = torch.zeros(model.config.text_config.vocab_size, dtype=torch.bool)
        banned[list(banned_ids)] = True
        self.register_buffer("banned", banned, persistent=False)

    @classmethod
    def from_pretrained(
        cls, model_dir: str, dtype: torch.dtype, normalise: Normalise, banned_ids: tuple[int, ...]
    ) -> "Scorer":
        """The weights of a model folder or hub id, on the CPU."""
        model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir, dtype=dtype)
        model.set_attn_implementation({"text_config": SEGMENT_ATTENTION, "vision_config": SEGMENT_ATTENTION})
        embed = model.model.visual.patch_embed
        embed.proj = StillPatches.of(embed.proj)
        return cls(model, normalise, banned_ids)

    def forward(
        self, batch: Batch, temperature: float = 1.0, entropy_gradient: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(logprobs [N] float32 with gradient, entropy [N] float32) of the batch's sampled tokens."""
        features = self._frames(batch)
        within = {}
        if batch.packed:
            within = {"cu_seq_lens_q": batch.bounds, "max_length_q": int(batch.bounds.diff().max())}
        hidden = self.model.model(
            input_ids=batch.ids,
            position_ids=batch.position_ids,
            mm_encoder_outputs={"image": features} if len(batch.frame_tokens) else None,
            use_cache=False,
            **within,
        ).last_hidden_state
        before = hidden.flatten(0, 1)[batch.places - 1]
        if not len(batch.frame_tokens):
            # Without a frame the tower's result counts for nothing, but every rank has used the same modules.
            before = before + 0.0 * (
                features.pooler_output[0].sum() + sum(d[0].sum() for d in features.deepstack_features)
            )
        return token_logprobs(before, batch.targets, self.model.lm_head, self.banned, temperature, entropy_gradient)

    def _frames(self, batch: Batch) -> ModelOutput:
        """Run the tower; its output, its rows put in the order of the placeholder tokens."""
        visual = self.model.model.visual
        pixels, grid = self._normalise(batch.pixels), batch.grid_thw
        if not len(grid):
            side = visual.spatial_merge_size
            grid = grid.new_tensor([[1, side, side]])
            pixels = pixels.new_zeros(side * side, *pixels.shape[1:])
        stills = pixels.to(visual.dtype).unsqueeze(2).expand(-1, -1, visual.config.temporal_patch_size, -1, -1)
        sizes, counts = torch.unique_consecutive(grid, dim=0, return_counts=True)
        positions = [
            get_vision_position_ids(size[None], visual.spatial_merge_size).repeat(int(count), 1)
            for size, count in zip(sizes, counts, strict=True)
        ]
        output = visual(stills, grid_thw=grid, position_ids=torch.cat(positions))
        if len(batch.frame_tokens):
            output.pooler_output = [output.pooler_output[batch.frame_tokens]]
            output.deepstack_features = [[level[batch.frame_tokens]] for level in output.deepstack_features]
        else:
            output.pooler_output = [output.pooler_output]
            output.deepstack_features = [[level] for level in output.deepstack_features]
        return output


class StillPatches(nn.Conv3d):
    """The patch embedding of stills. The frames of a temporal patch are copies, so its kernel is summed over time;
    a kernel as wide as its stride is a matrix product, which is several times faster than the convolution on a CPU."""

    @classmethod
    def of(cls, conv: nn.Conv3d) -> "StillPatches":
        """The same parameters."""
        still = cls(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, device="meta")
        still.weight, still.bias = conv.weight, conv.bias
        return still

    def forward(self, stills: torch.Tensor) -> torch.Tensor:
        """[patches, channels, time, patch, patch] with equal frames along time to [patches, width, 1, 1, 1]."""
        weight = self.weight.float().sum(2).flatten(1)
        patches = F.linear(stills[:, :, 0].flatten(1).float(), weight, self.bias.float())
        return patches.to(stills.dtype)[:, :, None, None, None]


def attend_per_segment(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention within each frame or each packed trajectory, one call for each run of segments of one length; never a
    mask over all of them. Trajectories on a GPU in half precision take one call of PyTorch's flash attention.

    Args:
        query, key, value: [rows, heads, T, head size]; one row where there are bounds.
        cu_seq_lens_q: [segments + 1] int32 bounds; None where every row is one segment.
        max_length_q: length of the longest segment.

    Returns:
        ([rows, T, heads, head size], None).
    """
    if cu_seq_lens_q is None:
        return sdpa_attention_forward(module, query, key, value, None, dropout=dropout, scaling=scaling)
    causal, grouped = bool(module.is_causal), query.shape[1] != key.shape[1]
    half = query.dtype in (torch.bfloat16, torch.float16)
    has_flash = query.is_cuda and half and torch.cuda.get_device_capability(query.device) >= (8, 0)
    if causal and not dropout and has_flash:
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        bounds, longest = cu_seq_lens_q, max_length_q
        window = (-1, 0)  # all that came before, nothing that comes after
        attended = varlen_attn(
            q, k, v, bounds, bounds, longest, longest, scale=scaling, window_size=window, enable_gqa=grouped
        )
        return attended[None], None
    bounds = cu_seq_lens_q.tolist()
    edges = [0, *(i for i in range(1, len(bounds) - 1) if bounds[i + 1] - bounds[i] != bounds[i] - bounds[i - 1])]
    runs = list(pairwise([*edges, len(bounds) - 1]))
    sizes = [bounds[after] - bounds[first] for first, after in runs]
    outputs = []
    # Split, not sliced: the gradient of a slice is as large as what it was cut from.
    for (first, after), *parts in zip(runs, *(x[0].split(sizes, 1) for x in (query, key, value)), strict=True):
        q, k, v = (part.unflatten(1, (after - first, -1)).transpose(0, 1) for part in parts)
        attended = F.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=causal, scale=scaling, enable_gqa=grouped
        )
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)[None], None


AttentionInterface.register(SEGMENT_ATTENTION, attend_per_segment)
