"""The tensors of a model with a LoRA adapter (arXiv 2106.09685), on their way out.

Invariant: what leaves has the names that others expect: `merged` those of the Hugging Face model, with the adapter's
W + alpha / r * B A in place of W; `write_adapter` those of PEFT.
"""

import json
from pathlib import Path

import torch

from configs.training import LoraConfig

BASE = ".base_layer."
A, B = ".lora_A.default.", ".lora_B.default."
"""What PEFT puts into the names of parameters: the layer under an adapter, and the adapter's two."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""Files of an adapter's folder."""


def merged(tensors: dict[str, torch.Tensor], lora: LoraConfig) -> dict[str, torch.Tensor]:
    """The model's tensors with the adapter in them. The sum is taken in float32."""
    whole = {}
    for name, tensor in tensors.items():
        if A in name or B in name:
            continue
        if BASE in name and name.endswith(".weight"):
            a, b = (tensors[name.replace(BASE, part)].float() for part in (A, B))
            tensor = (tensor.float() + lora.alpha / lora.rank * (b @ a)).to(tensor.dtype)
        whole[name.replace(BASE, ".")] = tensor
    return whole


def write_adapter(tensors: dict[str, torch.Tensor], lora: LoraConfig, model_dir: str, folder: Path) -> None:
    """Write the adapter alone into an existing folder, for `peft.PeftModel.from_pretrained` and vLLM."""
    from safetensors.torch import save_file

    own = {name.replace(".default.", "."): tensor for name, tensor in tensors.items() if A in name or B in name}
    layers = sorted({name.rpartition(".lora_")[0] for name in own})
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": model_dir,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": layers,
        "bias": "none",
        "inference_mode": True,
    }
    save_file({f"base_model.model.{name}": tensor for name, tensor in own.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2))
