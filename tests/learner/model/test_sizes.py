"""The sizes of models against models, and against counts by hand."""

import json
from pathlib import Path

import pytest
from transformers import Qwen3VLForConditionalGeneration

from configs.policy import ModelConfig, TinyModelConfig
from configs.training import LoraConfig, RanksConfig
from learner.model.sizes import RELEASED, ShapeError, shape_of
from learner.model.trainable import train_only


def test_a_folders_parameters_are_those_of_its_weights(model_dir: Path) -> None:
    model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir)
    shape = shape_of(ModelConfig(path=str(model_dir)))
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    text, found = model.config.text_config, shape.text
    assert (found.vocab_size, found.hidden_size, found.num_hidden_layers) == (text.vocab_size, text.hidden_size, 2)


@pytest.mark.parametrize(
    "ranks",
    [
        RanksConfig(),
        RanksConfig(train=["language", "projector"]),
        RanksConfig(train=["vision"]),
        RanksConfig(lora=LoraConfig(rank=4)),
        RanksConfig(train=["vision", "projector"], lora=LoraConfig(rank=3, targets=["qkv", "linear_fc1"])),
        RanksConfig(train=["language", "vision"], lora=LoraConfig(rank=2, targets=["q_proj", "proj"])),
    ],
)
def test_what_trains_is_what_the_learner_trains(model_dir: Path, ranks: RanksConfig) -> None:
    model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir)
    train_only(model, ranks.train, ranks.lora)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert shape_of(ModelConfig(path=str(model_dir))).trained(ranks) == trained


def test_the_tiny_model_is_known_before_it_is_built() -> None:
    narrow, wide = (shape_of(ModelConfig(tiny=TinyModelConfig(vocab_size=size))) for size in (768, 769))
    assert wide.parameters - narrow.parameters == 2 * narrow.text.hidden_size  # embeddings and head


@pytest.mark.parametrize("size", RELEASED)
def test_the_released_models_are_counted_as_by_hand(size: str) -> None:
    shape = shape_of(ModelConfig(path=f"Qwen/Qwen3-VL-{size}-Instruct"))
    sizes, hidden = shape.text, shape.text.hidden_size
    q, k = sizes.num_attention_heads * sizes.head_dim, sizes.num_key_value_heads * sizes.head_dim
    layer = hidden * (2 * q + 2 * k) + 3 * hidden * sizes.intermediate_size + 2 * hidden + 2 * sizes.head_dim
    text = sizes.num_hidden_layers * layer + hidden + sizes.vocab_size * hidden * (1 if size in ("2B", "4B") else 2)
    h, i = shape.tower.hidden_size, shape.tower.intermediate_size
    block = 4 * h * h + 4 * h + 2 * h * i + i + h + 4 * h
    tower = shape.tower.depth * block + h * 3 * 2 * 16 * 16 + h + 2304 * h
    last = 2 * h + (4 * h) ** 2 + 4 * h + 4 * h * hidden + hidden
    deep = last - 2 * h + 2 * 4 * h
    assert (shape.vision, shape.projector) == (tower, last + shape.deepstack * deep)
    assert shape.parameters == text + shape.vision + shape.projector


def test_what_is_no_qwen3_vl_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"model\.path .*config\.json cannot be read"):
        shape_of(ModelConfig(path=str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ShapeError, match="is a llama; the learner trains dense Qwen3-VL"):
        shape_of(ModelConfig(path=str(tmp_path)))
