"""The sizes of a policy, known before any of its weights are read.

Invariant: parameters are counted on the very module that the learner loads, built on the `meta` device, so a count is
exact and costs no memory.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLTextConfig,
    Qwen3VLVisionConfig,
)

from configs.policy import ModelConfig
from configs.training import RanksConfig
from learner.model.tiny import tiny_model_config
from learner.model.trainable import part_of

VOCABULARY = 151_936
"""Tokens of every released Qwen3-VL (`vocab_size` of their config.json)."""
Tower = dict[str, int | list[int]]
"""Sizes of a vision tower, by the names of its config."""
SMALL: Tower = {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24, "deepstack_visual_indexes": [5, 11, 17]}
"""Vision tower of the 2B and the 4B."""
LARGE: Tower = {"hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "deepstack_visual_indexes": [8, 16, 24]}
"""Vision tower of the 8B and the 32B."""
RELEASED = {
    "2B": (2048, 28, 16, 8, 6144, True, SMALL),
    "4B": (2560, 36, 32, 8, 9728, True, SMALL),
    "8B": (4096, 36, 32, 8, 12288, False, LARGE),
    "32B": (5120, 64, 64, 8, 25600, False, LARGE),
}
"""Width, layers, heads, key-value heads, width of the MLP, tied embeddings and tower of the dense Qwen3-VL, as the
config.json of `Qwen/Qwen3-VL-*-Instruct` has them; heads are of 128, those of the tower 16."""


class ShapeError(ValueError):
    """The sizes of the model cannot be known; the message says why in one sentence."""


@dataclass(frozen=True)
class Linears:
    """The linear layers of one part that share a last name, which is what an adapter is put on."""

    part: str
    """`language`, `projector` or `vision`."""
    name: str
    count: int
    widths: int
    """Inputs and outputs of all of them: an adapter of rank r has r times as many parameters."""


@dataclass(frozen=True)
class ModelShape:
    """A Qwen3-VL in numbers."""

    name: str
    parameters: int
    """All of them, tied ones once."""
    vision: int
    """Parameters of the vision tower without its mergers."""
    projector: int
    """Parameters of the mergers."""
    linears: tuple[Linears, ...]
    text: Qwen3VLTextConfig
    tower: Qwen3VLVisionConfig

    @property
    def deepstack(self) -> int:
        """Mergers beside the last one, each of which feeds a text layer."""
        return len(self.tower.deepstack_visual_indexes)

    @property
    def patches_per_token(self) -> int:
        """Vision patches that are merged into one token."""
        return int(self.tower.spatial_merge_size) ** 2

    def trained(self, ranks: RanksConfig) -> int:
        """Count the parameters that get gradients: of the parts that train or, with LoRA, of the adapter."""
        if ranks.lora.rank:
            return ranks.lora.rank * sum(linears.widths for linears in self.adapted(ranks))
        sizes = {"vision": self.vision, "projector": self.projector}
        sizes["language"] = self.parameters - sum(sizes.values())
        return sum(sizes[part] for part in set(ranks.train))

    def adapted(self, ranks: RanksConfig) -> tuple[Linears, ...]:
        """The linear layers that get an adapter; none without LoRA."""
        targets = ranks.lora.targets if ranks.lora.rank else ()
        return tuple(linears for linears in self.linears if linears.part in ranks.train and linears.name in targets)

    def changing(self, ranks: RanksConfig) -> set[str]:
        """The parts in which something trains."""
        return {linears.part for linears in self.adapted(ranks)} if ranks.lora.rank else {*ranks.train}


def shape_of(model: ModelConfig) -> ModelShape:
    """The shape of the configured policy; without a path that of the tiny model, its vocabulary full. Raises ShapeError
    where no config.json can be read, or it is of another architecture."""
    if model.path is None:
        return _measured("tiny", tiny_model_config(model.tiny, model.tiny.vocab_size))
    return _measured(model.path, _released(model.path) or _read(model.path))


def _released(path: str) -> Qwen3VLConfig | None:
    """The config of a released model, without the network; None for other paths."""
    size = path.removeprefix("Qwen/Qwen3-VL-").rpartition("-")[0]
    if Path(path).exists() or path.rpartition("/")[0] != "Qwen" or size not in RELEASED:
        return None
    hidden, layers, heads, kv_heads, intermediate, tied, tower = RELEASED[size]
    return Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": 128,
            "intermediate_size": intermediate,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
        },
        vision_config={**tower, "num_heads": 16, "patch_size": 16, "out_hidden_size": hidden},
        tie_word_embeddings=tied,
    )


def _read(path: str) -> Qwen3VLConfig:
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ShapeError(f"model.path {path}: its config.json cannot be read ({str(error).splitlines()[0]})") from None
    if config.model_type != "qwen3_vl":
        raise ShapeError(f"model.path {path}: is a {config.model_type}; the learner trains dense Qwen3-VL (qwen3_vl)")
    return config


def _measured(name: str, config: Qwen3VLConfig) -> ModelShape:
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(config)
    sizes = {"language": 0, "projector": 0, "vision": 0}
    for parameter_name, parameter in model.named_parameters():
        sizes[part_of(parameter_name)] += parameter.numel()
    return ModelShape(
        name=name,
        parameters=sum(sizes.values()),
        vision=sizes["vision"],
        projector=sizes["projector"],
        linears=_linears(model),
        text=config.text_config,
        tower=config.vision_config,
    )


def _linears(model: nn.Module) -> tuple[Linears, ...]:
    found: dict[tuple[str, str], list[int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            widths = module.in_features + module.out_features
            found.setdefault((part_of(name), name.rpartition(".")[2]), []).append(widths)
    return tuple(Linears(part, name, len(widths), sum(widths)) for (part, name), widths in found.items())
