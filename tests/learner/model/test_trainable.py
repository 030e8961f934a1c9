"""What trains: parts of the model, adapters, and what leaves a model that has one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import Qwen3VLForConditionalGeneration

from configs.training import LoraConfig
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.batch import Batch, collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.lora import merged, write_adapter
from learner.model.scorer import Scorer
from learner.model.trainable import part_of, train_only, without_adapter

ALL = ["language", "projector", "vision"]
LORA = LoraConfig(rank=4, alpha=8)


@pytest.fixture
def scorer(model_dir: Path, processor: Any, chat: ChatFormat) -> Scorer:
    normalise = Normalise(processor.image_processor)
    return Scorer.from_pretrained(str(model_dir), torch.float32, normalise, chat.banned_ids).train()


@pytest.fixture
def batch(trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat) -> Batch:
    return collate(trajectories, None, patches, chat, packed=True)


def stir(model: Qwen3VLForConditionalGeneration) -> None:
    """Gives an adapter something to say; a new one says nothing."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.normal_(std=0.2, generator=generator)


def tensors_of(model: Qwen3VLForConditionalGeneration) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("parts", [["language"], ["projector"], ["vision"], ["language", "projector"], ALL])
def test_the_parts_named_have_gradients_and_no_others(scorer: Scorer, batch: Batch, parts: list[str]) -> None:
    train_only(scorer.model, parts, LoraConfig())
    scorer(batch)[0].sum().backward()
    trained = {name for name, p in scorer.model.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in scorer.model.named_parameters() if part_of(name) in parts}


def test_parts_are_the_models_own(scorer: Scorer) -> None:
    parts = {part: {n for n, _ in scorer.model.named_parameters() if part_of(n) == part} for part in ALL}
    visual = {f"model.visual.{name}" for name, _ in scorer.model.model.visual.named_parameters()}
    mergers = {name for name in visual if "merger" in name}
    assert parts["projector"] == mergers
    assert parts["vision"] == visual - mergers
    assert {"model.visual.merger.norm.weight", "model.visual.deepstack_merger_list.0.norm.weight"} < mergers
    assert "model.language_model.embed_tokens.weight" in parts["language"]


def test_an_adapter_alone_trains_and_without_it_the_model_is_the_old_one(scorer: Scorer, batch: Batch) -> None:
    base = tensors_of(scorer.model)
    with torch.no_grad():
        before, _ = scorer(batch)
    train_only(scorer.model, ALL, LORA)
    with torch.no_grad():
        assert torch.equal(scorer(batch)[0], before), "a new adapter computes nothing"
    stir(scorer.model)
    logprobs, _ = scorer(batch)
    logprobs.sum().backward()
    trained = {name for name, p in scorer.model.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in scorer.model.named_parameters() if ".lora_" in name}
    assert len(trained) == 2 * 7 * scorer.model.config.text_config.num_hidden_layers
    torch.optim.SGD([p for p in scorer.parameters() if p.requires_grad], lr=0.1).step()
    after = {name.replace(".base_layer.", "."): value for name, value in tensors_of(scorer.model).items()}
    assert all(torch.equal(after[name], value) for name, value in base.items())
    with torch.no_grad():
        with without_adapter(scorer.model):
            assert torch.equal(scorer(batch)[0], before)
        assert float((scorer(batch)[0] - before).abs().max()) > 0.1
    assert all(p.requires_grad for name, p in scorer.model.named_parameters() if ".lora_" in name)


def test_an_adapter_on_a_head_that_is_the_embeddings_is_refused(scorer: Scorer) -> None:
    scorer.model.lm_head.weight = scorer.model.model.language_model.embed_tokens.weight
    with pytest.raises(ValueError, match=r"lm_head has the embeddings' own weight"):
        train_only(scorer.model, ALL, LoraConfig(rank=4, targets=["q_proj", "lm_head"]))


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["o_proj", "qkv", "linear_fc1"]])
def test_what_is_merged_or_saved_alone_computes_as_the_adapter_does(
    scorer: Scorer, batch: Batch, model_dir: Path, tmp_path: Path, targets: list[str]
) -> None:
    lora = LoraConfig(rank=4, alpha=8, targets=targets)
    train_only(scorer.model, ALL, lora)
    stir(scorer.model)
    tensors = tensors_of(scorer.model)
    write_adapter(tensors, lora, str(model_dir), tmp_path)
    whole = merged(tensors, lora)
    plain = Qwen3VLForConditionalGeneration.from_pretrained(model_dir)
    assert whole.keys() == {name for name, _ in plain.named_parameters()}
    plain.load_state_dict(whole, strict=False)
    loaded = PeftModel.from_pretrained(Qwen3VLForConditionalGeneration.from_pretrained(model_dir), tmp_path)
    with torch.no_grad():
        expected, _ = scorer(batch)
        for model in (plain, loaded.get_base_model()):
            scorer.model = model
            model.set_attn_implementation({"text_config": "per_segment_flash", "vision_config": "per_segment_flash"})
            torch.testing.assert_close(scorer(batch)[0], expected, atol=1e-5, rtol=1e-5)


def test_merging_keeps_the_type_and_rounds_once() -> None:
    torch.manual_seed(0)
    a, b, w = torch.randn(2, 6), torch.randn(5, 2), torch.randn(5, 6)
    names = ("x.base_layer.weight", "x.lora_A.default.weight", "x.lora_B.default.weight", "x.base_layer.bias")
    tensors = dict(zip(names, (w.bfloat16(), a.bfloat16(), b.bfloat16(), torch.ones(5).bfloat16()), strict=True))
    whole = merged(tensors, LoraConfig(rank=2, alpha=8))
    exact = w.bfloat16().float() + 4 * b.bfloat16().float() @ a.bfloat16().float()
    assert whole.keys() == {"x.weight", "x.bias"}
    assert torch.equal(whole["x.weight"], exact.bfloat16())


@pytest.mark.parametrize(
    ("parts", "lora", "said"),
    [
        ([], LoraConfig(), "ranks.train is empty"),
        (ALL, LoraConfig(rank=2, targets=["q_proj", "wq"]), "no linear layer of language, projector, vision: wq"),
        (
            ["vision"],
            LoraConfig(rank=2, targets=["q_proj"]),
            "of vision: q_proj; there are linear_fc1, linear_fc2",
        ),
        (ALL, LoraConfig(rank=2, targets=[]), "none given"),
    ],
)
def test_what_cannot_train_is_refused(scorer: Scorer, parts: list[str], lora: LoraConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        train_only(scorer.model, parts, lora)
