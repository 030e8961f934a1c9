"""The formulas against what torch keeps."""

import gc
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from configs.policy import EngineConfig, ModelConfig, TinyModelConfig
from configs.training import LoraConfig, RanksConfig
from learner.model.batch import Batch
from learner.model.scorer import Scorer
from learner.model.sizes import ModelShape, shape_of
from learner.model.tiny import build_tiny_model
from learner.model.trainable import train_only
from learner.planning.memory import activation_bytes, engine_bytes, state_bytes

SIZES = TinyModelConfig(hidden_size=128, layers=3, intermediate_size=320, vision_hidden_size=64, vision_layers=3)
GRID = 4
"""Patches along a side of a frame."""
TOLERANCE = 0.1
FROZEN_TOWER: list[Any] = ["language", "projector"]
LORA = LoraConfig(rank=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(SIZES, ["what is it? look at the frame"] * 20, tmp_path_factory.mktemp("sizes"), seed=0)


@pytest.fixture(scope="module")
def shape(folder: Path) -> ModelShape:
    return shape_of(ModelConfig(path=str(folder)))


def rank_model(folder: Path, ranks: RanksConfig) -> Scorer:
    """As a rank sets it up."""
    dtype = getattr(torch, ranks.dtype)
    normalise: Any = lambda pixels: pixels.float()  # noqa: E731
    scorer = Scorer.from_pretrained(str(folder), dtype, normalise, (0,)).train()
    train_only(scorer.model, ranks.train, ranks.lora)
    if ranks.gradient_checkpointing:
        scorer.model.gradient_checkpointing_enable({"use_reentrant": False})
    return scorer


def a_batch(scorer: Scorer, tokens: int, frames: int, sampled: int) -> Batch:
    """One sequence that begins with its frames."""
    size, image = GRID**2 // 4 * frames, scorer.model.config.image_token_id
    ids = torch.full((1, tokens), 50)
    ids[0, :size] = image
    zeros = torch.zeros(sampled)
    return Batch(
        ids=ids,
        bounds=torch.tensor([0, tokens], dtype=torch.int32),
        attention_mask=torch.ones(1, tokens, dtype=torch.bool),
        mm_token_type_ids=(ids == image).long(),
        position_ids=torch.arange(tokens).expand(3, 1, tokens).contiguous(),
        pixels=torch.zeros(frames * GRID**2, 3, 16, 16, dtype=torch.uint8),
        grid_thw=torch.tensor([[1, GRID, GRID]] * frames),
        frame_tokens=torch.arange(size),
        rows=zeros.long(),
        columns=torch.arange(tokens - sampled, tokens),
        sampler_logprobs=zeros,
        versions=zeros.long(),
        kinds=zeros.long(),
        lengths=zeros + sampled,
        advantages=zeros,
        readable=torch.ones(1, dtype=torch.bool),
    )


def kept_for_backward(scorer: Scorer, batch: Batch) -> int:
    """Bytes that outlive the forward pass for the backward pass, each storage once, without weights and inputs."""
    inputs = [getattr(batch, field.name) for field in fields(batch)]
    own = {t.untyped_storage().data_ptr() for t in (*scorer.parameters(), *scorer.buffers(), *inputs)}
    found: dict[int, tuple[StorageWeakRef, int]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = scorer(batch)
    gc.collect()
    kept = sum(size for reference, size in found.values() if not reference.expired())
    del result
    return kept


@pytest.mark.parametrize(
    ("ranks", "tokens"),
    [
        (RanksConfig(), 192),
        (RanksConfig(), 768),
        (RanksConfig(dtype="bfloat16"), 768),
        (RanksConfig(dtype="bfloat16", gradient_checkpointing=True), 768),
        (RanksConfig(train=FROZEN_TOWER), 768),
        (RanksConfig(dtype="bfloat16", train=FROZEN_TOWER, gradient_checkpointing=True), 768),
        (RanksConfig(lora=LORA), 768),
        (RanksConfig(dtype="bfloat16", lora=LORA), 768),
        (RanksConfig(dtype="bfloat16", lora=LORA, gradient_checkpointing=True), 768),
    ],
)
def test_activations_are_those_that_torch_keeps(
    folder: Path, shape: ModelShape, ranks: RanksConfig, tokens: int
) -> None:
    scorer = rank_model(folder, ranks)
    frames, sampled = tokens // 5, tokens // 16
    kept = kept_for_backward(scorer, a_batch(scorer, tokens, frames, sampled))
    logprobs = sampled * shape.text.vocab_size * 4  # of a chunk, which is not checkpointed where there is but one
    told = activation_bytes(shape, ranks, tokens, frames * GRID**2 // 4).stored + logprobs
    assert told == pytest.approx(kept, rel=TOLERANCE)


def test_a_recomputed_layer_is_what_one_layer_more_keeps(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, shape: ModelShape
) -> None:
    tokens, frames = 512, 100
    ranks = RanksConfig(train=FROZEN_TOWER)
    sizes = TinyModelConfig(**{**vars(SIZES), "layers": SIZES.layers + 1})
    deeper = build_tiny_model(sizes, ["what is it? look at the frame"] * 20, tmp_path_factory.mktemp("deep"), seed=0)
    one, other = (rank_model(path, ranks) for path in (deeper, folder))
    layer = kept_for_backward(one, a_batch(one, tokens, frames, 8)) - kept_for_backward(
        other, a_batch(other, tokens, frames, 8)
    )
    checkpointed = activation_bytes(shape, RanksConfig(gradient_checkpointing=True, train=FROZEN_TOWER), tokens, 400)
    flowing = activation_bytes(shape, ranks, tokens, 400).layer
    assert checkpointed.layer - flowing == pytest.approx(layer, rel=TOLERANCE)


@pytest.mark.parametrize("ranks", [RanksConfig(), RanksConfig(train=FROZEN_TOWER), RanksConfig(lora=LORA)])
def test_the_state_is_what_torch_allocates(folder: Path, shape: ModelShape, ranks: RanksConfig) -> None:
    scorer = rank_model(folder, ranks)
    trained = [p for p in scorer.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    scorer(a_batch(scorer, 64, 4, 8))[0].sum().backward()
    optimizer.step()
    moments = [t for held in optimizer.state.values() for t in held.values() if t.ndim]
    state = state_bytes(shape, ranks)
    assert state.weights == sum(p.nbytes for name, p in scorer.named_parameters() if ".lora_" not in name)
    assert state.gradients == sum(p.grad.nbytes for p in trained)
    assert state.optimizer == sum(moment.nbytes for moment in moments)
    assert state.buffers == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_stage_of_zero_shares_out_what_it_says(shape: ModelShape, dtype: Any) -> None:
    def state(stage: Any, ranks: Any) -> Any:
        return state_bytes(shape, RanksConfig(zero_stage=stage, ranks=ranks, dtype=dtype))

    shared = {0: (), 1: ("optimizer",), 2: ("optimizer", "gradients"), 3: ("optimizer", "gradients", "weights")}
    for stage, parts in shared.items():
        alone, four = state(stage, 1), state(stage, 4)
        for part in ("weights", "gradients", "optimizer"):
            divided = getattr(alone, part) // (4 if part in parts else 1)
            assert getattr(four, part) == pytest.approx(divided, abs=4), (stage, part)
    assert state(1, 1).optimizer == 12 * shape.parameters


def test_offload_leaves_a_gpu_without_what_it_moves(shape: ModelShape) -> None:
    def state(**values: Any) -> Any:
        return state_bytes(shape, RanksConfig(ranks=4, dtype="bfloat16", **values))

    trained = shape.parameters
    kept, moved, all_moved = (state(zero_stage=3, offload=offload) for offload in ("none", "optimizer", "all"))
    assert (moved.optimizer, moved.gradients, moved.weights) == (0, 0, kept.weights)
    assert moved.host == pytest.approx((12 + 8) * trained / 4, abs=8)  # with gradients summed up and those of the copy
    assert (all_moved.weights, all_moved.host) == (0, moved.host + kept.weights)
    assert state(zero_stage=1, offload="optimizer").gradients == 4 * trained  # summed up
    assert state(zero_stage=2, offload="optimizer").host == pytest.approx((12 + 8 + 2) * trained / 4, abs=8)


def test_an_engine_spreads_weights_and_heads_over_its_gpus() -> None:
    shape = shape_of(ModelConfig(path="Qwen/Qwen3-VL-8B-Instruct"))
    one, two, sixteen = (
        engine_bytes(shape, EngineConfig(gpus_per_engine=n, dtype="bfloat16", max_model_len=1000)) for n in (1, 2, 16)
    )
    assert one.sequence == 1000 * 36 * 2 * 2 * 8 * 128  # tokens, layers, K and V, bytes, heads, head size
    assert (two.sequence, two.weights) == (one.sequence // 2, one.weights // 2)
    assert sixteen.sequence == one.sequence // 8  # eight heads at most, which then are held twice
