"""A small policy of the real Qwen3-VL architecture, random weights, saved in Hugging Face format.

Invariant: the folder is indistinguishable in kind from a released Qwen3-VL checkpoint: `AutoProcessor`,
`Qwen3VLForConditionalGeneration.from_pretrained` and vLLM load it without knowing that it is small.
"""

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextAttention

from configs.policy import TinyModelConfig

HEAD_DIM = 32
"""Size of an attention head; the smallest that vLLM's CPU attention has a kernel for."""
HEAD_RANGE = 0.02
"""Standard deviation of an output head's first weights: all words are about as likely at first."""
ROPE_THETA = 10_000.0
"""Base of the rotations."""
LOOKING_BACK = 2
"""Layers some of whose heads look at the tokens before from the start."""
POSITION_GRID = 8
"""Side of the learned grid of vision positions, patches; other sizes are interpolated from it."""
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VISION_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
TURN_TOKENS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
ANSWER_TOKENS = ["<answer>", "</answer>"]
WORD_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}(?:\.\p{N})?|[^\s\p{L}\p{N}]+ (?=\p{N}|\z)|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's pre-tokenizer, but with digits in pairs, and tenths with them: a time such as 23 or 23.5 is one token, if it
is frequent, so that a frame is found by one token. The space before it is the comma's, where there is one."""
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' or 'image_url' in part or 'image' in part -%}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part.type == 'video' or 'video_url' in part or 'video' in part -%}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{%- elif 'text' in part -%}{{ part.text }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def build_tiny_model(config: TinyModelConfig, texts: Iterable[str], out_dir: str | Path, seed: int) -> Path:
    """Build and save the model, a byte-level BPE tokenizer trained on `texts`, and the processor; returns `out_dir`.
    Raises ValueError for sizes that do not fit each other."""
    if config.hidden_size % HEAD_DIM:
        raise ValueError(f"model.tiny.hidden_size must be a multiple of {HEAD_DIM}, not {config.hidden_size}")
    if config.vision_hidden_size % config.vision_heads:
        raise ValueError(
            f"model.tiny.vision_hidden_size ({config.vision_hidden_size}) must be a multiple of "
            f"model.tiny.vision_heads ({config.vision_heads})"
        )
    out_dir = Path(out_dir)
    processor = _processor(config, texts)
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    model = Qwen3VLForConditionalGeneration(tiny_model_config(config, len(tokenizer), tokenizer))
    _begin(model, config)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out_dir)
    processor.save_pretrained(out_dir)
    return out_dir


def _begin(model: Qwen3VLForConditionalGeneration, config: TinyModelConfig) -> None:
    """First weights, where the architecture's own drown the words and the places in what the first layers add, and have
    nothing that all tokens share."""
    text, vision = model.model.language_model, model.model.visual
    torch.nn.init.normal_(vision.pos_embed.weight, std=config.position_range)
    if not config.tied_embeddings:
        torch.nn.init.normal_(model.lm_head.weight, std=HEAD_RANGE)
        torch.nn.init.normal_(text.embed_tokens.weight, std=config.embedding_range)
    with torch.no_grad():
        shared = torch.randn(config.hidden_size) * config.shared_range
        text.embed_tokens.weight.add_(shared)
        vision.merger.linear_fc2.bias.add_(shared)
        for layer in text.layers:
            layer.self_attn.o_proj.weight.mul_(config.residual_gain)
            layer.mlp.down_proj.weight.mul_(config.residual_gain)
        if config.shared_range:
            for layer in text.layers[:LOOKING_BACK]:
                _look_back(layer.self_attn, shared / shared.norm(), config)


def _look_back(attention: Qwen3VLTextAttention, shared: torch.Tensor, config: TinyModelConfig) -> None:
    """Let the heads of the first key-value head attend to the token before and to the one before that, and so on, by
    what all tokens share: the rotations of the fastest dimensions agree there, and nowhere else."""
    fastest = torch.arange(3)
    turns = ROPE_THETA ** (-fastest / (HEAD_DIM // 2))
    key = torch.zeros(HEAD_DIM)
    key[fastest] = 1.0
    attention.k_proj.weight[:HEAD_DIM].mul_(0.1).add_(torch.outer(key, shared))
    for head in range(attention.num_key_value_groups):
        query = torch.zeros(HEAD_DIM)
        query[fastest] = torch.cos(turns * (head + 1))
        query[fastest + HEAD_DIM // 2] = -torch.sin(turns * (head + 1))
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        attention.q_proj.weight[rows].mul_(0.1).add_(torch.outer(query, shared))
        attention.o_proj.weight[:, rows].mul_(0.5 / config.residual_gain)
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[fastest], norm.weight[fastest + HEAD_DIM // 2] = 1.5, 1.5


def _processor(config: TinyModelConfig, texts: Iterable[str]) -> Qwen3VLProcessor:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_bpe(config.vocab_size, texts),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", *VISION_TOKENS],
        model_max_length=config.max_position_embeddings,
    )
    merged = 2 * config.patch_size
    pixels = {
        "patch_size": config.patch_size,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": merged**2, "longest_edge": (32 * merged) ** 2},
    }
    return Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen3VLVideoProcessor(**pixels), chat_template=CHAT_TEMPLATE
    )


def _bpe(vocab_size: int, texts: Iterable[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS + VISION_TOKENS]
    added = [AddedToken(token, special=False, normalized=False) for token in TURN_TOKENS + ANSWER_TOKENS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(added),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    times = [f"{number:02d}" for number in range(100)] + [f"{quarter / 4:.1f}" for quarter in range(240)]
    # The trainer does not know them: left in, `>` would grow together with the word behind a tag.
    tags = re.compile("|".join(re.escape(str(token.content)) for token in special + added))
    words = (piece for text in texts for piece in tags.split(text))
    tokenizer.train_from_iterator(chain(times * 100, words), trainer)
    tokenizer.add_tokens(added)
    return tokenizer


def tiny_model_config(
    config: TinyModelConfig, vocab_size: int, tokenizer: PreTrainedTokenizerBase | None = None
) -> Qwen3VLConfig:
    """Make the config of a model of these sizes, with the ids of the tokenizer's special tokens if one is given."""
    text_ids: dict[str, int | None] = {}
    vision_ids: dict[str, int] = {}
    if tokenizer is not None:
        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        text_ids = {"pad_token_id": pad, "bos_token_id": None, "eos_token_id": end}
        names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
        vision_ids = dict(zip(names, tokenizer.convert_tokens_to_ids(VISION_TOKENS), strict=True))
    heads = config.hidden_size // HEAD_DIM
    third = HEAD_DIM // 2 // 3
    return Qwen3VLConfig(
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2 if heads % 2 == 0 else heads,
            "head_dim": HEAD_DIM,
            "initializer_range": config.initializer_range,
            "max_position_embeddings": config.max_position_embeddings,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROPE_THETA,
                "mrope_interleaved": True,
                "mrope_section": [HEAD_DIM // 2 - 2 * third, third, third],
            },
            "tie_word_embeddings": config.tied_embeddings,
            "dtype": "float32",
            **text_ids,
        },
        vision_config={
            "depth": config.vision_layers,
            "hidden_size": config.vision_hidden_size,
            "intermediate_size": config.vision_intermediate_size,
            "num_heads": config.vision_heads,
            "patch_size": config.patch_size,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": config.hidden_size,
            "initializer_range": config.initializer_range,
            "num_position_embeddings": POSITION_GRID**2,
            "deepstack_visual_indexes": [0],
        },
        tie_word_embeddings=config.tied_embeddings,
        dtype="float32",
        **vision_ids,
    )
