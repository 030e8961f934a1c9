"""Parts of SAM 3 small enough to be made on the spot, with random weights."""

from typing import Any

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
