"""Parts of SAM 3 small enough to be made on the spot, with random weights."""

from pathlib import Path
from typing import Any

import torch

from actors.sam3.text_segmenter import MAX_TOKENS

SIDE, HIDDEN = 112, 128


def vision() -> dict[str, Any]:
    """What every model of the family sees with."""
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "pretrain_image_size": SIDE,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": HIDDEN,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }


def tracker() -> dict[str, Any]:
    """What follows what was found."""
    return {
        "image_size": SIDE,
        "vision_config": vision(),
        "prompt_encoder_config": {"hidden_size": HIDDEN, "mask_input_channels": 4},
        "mask_decoder_config": {"hidden_size": HIDDEN, "mlp_dim": 64, "num_attention_heads": 2},
        "memory_attention_hidden_size": HIDDEN,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 64,
        "memory_encoder_hidden_size": HIDDEN,
        "mask_downsampler_embed_dim": HIDDEN,
        "memory_fuser_embed_dim": HIDDEN,
        "memory_fuser_intermediate_dim": 64,
    }


def image_processors() -> tuple[Any, Any]:
    """Of single images and of videos."""
    from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor
    from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

    size = {"height": SIDE, "width": SIDE}
    return Sam3ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)


REMEMBERED = 3
"""Looks that the tiny tracker goes back to."""


def write_sam3_video(folder: Path) -> str:
    """A folder as `save_pretrained` writes it. The model takes whatever it detects, however unsure."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer, Sam3VideoConfig, Sam3VideoModel, Sam3VideoProcessor

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    part = {"hidden_size": HIDDEN, "num_attention_heads": 2}
    layer = {**part, "num_layers": 1, "intermediate_size": 64}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": len(words) - 2,
        "eos_token_id": len(words) - 1,
    }
    config = Sam3VideoConfig(
        detector_config={
            "model_type": "sam3",
            "vision_config": vision(),
            "text_config": text,
            "geometry_encoder_config": layer,
            "detr_encoder_config": layer,
            "detr_decoder_config": {**layer, "num_queries": 6},
            "mask_decoder_config": part,
        },
        tracker_config={
            "model_type": "sam3_tracker_video",
            **tracker(),
            "max_object_pointers_in_encoder": REMEMBERED,
            "num_maskmem": REMEMBERED,
        },
        low_res_mask_size=32,
        score_threshold_detection=0.0,
        new_det_thresh=0.0,
    )
    torch.manual_seed(0)
    Sam3VideoModel(config).save_pretrained(folder)
    images, videos = image_processors()
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    Sam3VideoProcessor(images, videos, tokenizer, target_size=SIDE).save_pretrained(folder)
    return str(folder)
