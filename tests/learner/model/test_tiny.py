"""The tiny model's first weights."""

from pathlib import Path

import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from configs.policy import TinyModelConfig
from learner.model.tiny import LOOKING_BACK, build_tiny_model


def attentions(folder: Path) -> list[torch.Tensor]:
    """Of each layer, (heads, tokens, tokens), over random tokens."""
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    text = model.model.language_model
    ids = torch.randint(300, len(text.embed_tokens.weight), (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return [layer[0] for layer in text(input_ids=ids, output_attentions=True).attentions]


def test_heads_of_the_first_layers_look_at_the_tokens_before(tmp_path: Path) -> None:
    layers = attentions(build_tiny_model(TinyModelConfig(), ["4.0 red north"], tmp_path, seed=0))
    for layer in layers[:LOOKING_BACK]:
        for head in (0, 1):
            assert layer[head].diagonal(-1 - head)[3:].mean() > 0.7
        assert layer[2].diagonal(-1)[3:].mean() < 0.2
    assert all(layer[0].diagonal(-1)[3:].mean() < 0.2 for layer in layers[LOOKING_BACK:])


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_the_embeddings_or_its_own(tmp_path: Path, tied: bool) -> None:
    config = TinyModelConfig(hidden_size=64, layers=1, vision_layers=1, tied_embeddings=tied)
    folder = build_tiny_model(config, ["4.0 red north"], tmp_path, seed=0)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder)
    embeddings = model.model.language_model.embed_tokens.weight
    assert (model.lm_head.weight is embeddings) is tied
    spread = float((embeddings - embeddings.mean(0)).detach().std())
    assert spread == pytest.approx(config.initializer_range if tied else config.embedding_range, rel=0.1)
