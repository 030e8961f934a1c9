"""What of the policy trains: whole parts of the model, or a low-rank adapter on them.

Invariant: a parameter has a gradient if and only if `ranks.train` and `ranks.lora` say so. With an adapter the model's
own weights never change.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from configs.training import LoraConfig

VISUAL = "model.visual."


def part_of(name: str) -> str:
    """Return the part that a parameter or module of Qwen3-VL belongs to, by its name: `language`, `projector` (the
    mergers of the vision tower, deepstack ones included) or `vision` (the rest of the tower)."""
    if not name.startswith(VISUAL):
        return "language"
    return "projector" if "merger" in name.removeprefix(VISUAL).split(".")[0] else "vision"


def train_only(model: nn.Module, parts: Sequence[str], lora: LoraConfig) -> None:
    """Freeze all but `parts`; with a `lora.rank`, freeze all and put a trained adapter on the linear layers of `parts`
    that `lora.targets` names. A new adapter computes nothing: its B is zero. Raises ValueError where nothing is left to
    train, or for a target that is no linear layer of these parts, or is tied."""
    if not parts:
        raise ValueError("ranks.train is empty, so that nothing would train")
    if lora.rank:
        _add_adapter(model, parts, lora)
        return
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in parts)


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """Have the model compute with its own weights alone within the block."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def _add_adapter(model: nn.Module, parts: Sequence[str], lora: LoraConfig) -> None:
    import peft

    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and part_of(name) in parts]
    chosen = [name for name in names if name.rpartition(".")[2] in lora.targets]
    missing = sorted(set(lora.targets) - {name.rpartition(".")[2] for name in chosen})
    if missing or not chosen:
        there = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
        raise ValueError(
            f"ranks.lora.targets names no linear layer of {', '.join(parts)}: {', '.join(missing) or 'none given'}; "
            f"there are {there}"
        )
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    tied = [name for name in chosen if id(model.get_submodule(name).weight) in embeddings]
    if tied:
        raise ValueError(f"ranks.lora.targets: {tied[0]} has the embeddings' own weight in this model; leave it out")
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=chosen, bias="none"
    )
    model.requires_grad_(False)
    peft.inject_adapter_in_model(config, model)
