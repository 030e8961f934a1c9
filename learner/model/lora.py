"""The tensors of a model with a LoRA adapter (arXiv 2106.09685), on their way out.

Invariant: what leaves has the names that others expect: those of the Hugging Face model, with the adapter's
W + alpha / r * B A in place of W (`merged`), or those of PEFT (`write_adapter`).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from configs.training import LoraConfig

BASE = ".base_layer."
A, B = ".lora_A.default.", ".lora_B.default."
"""What PEFT puts into the names of parameters: the layer under an adapter, and the adapter's two."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""Files of an adapter's folder."""


def is_part(name: str) -> bool:
    """Return whether a parameter of this name is an adapter's."""
    return A in name or B in name


def plain_name(name: str) -> str:
    """Return the Hugging Face model's name of a parameter."""
    return name.replace(BASE, ".")


def product_of(name: str) -> tuple[str, ...]:
    """Return the names of the A and B that are to be merged into the parameter of this name; none for most."""
    return (name.replace(BASE, A), name.replace(BASE, B)) if BASE in name and name.endswith(".weight") else ()


def merge(weight: torch.Tensor, product: Sequence[torch.Tensor], scale: float) -> torch.Tensor:
    """Add the product of an adapter's A and B to a weight. The sum is taken in float32."""
    a, b = product
    return (weight.float() + scale * (b.float() @ a.float())).to(weight.dtype)


def merged(tensors: dict[str, torch.Tensor], lora: LoraConfig) -> dict[str, torch.Tensor]:
    """Merge the adapter into the model's tensors."""
    whole = {}
    for name, tensor in tensors.items():
        if is_part(name):
            continue
        product = [tensors[other] for other in product_of(name)]
        whole[plain_name(name)] = merge(tensor, product, lora.alpha / lora.rank) if product else tensor
    return whole


def write_adapter(tensors: dict[str, torch.Tensor], lora: LoraConfig, model_dir: str, folder: Path) -> None:
    """Write the adapter alone into an existing folder, for `peft.PeftModel.from_pretrained` and vLLM."""
    from safetensors.torch import save_file

    own = {name.replace(".default.", "."): tensor for name, tensor in tensors.items() if is_part(name)}
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
