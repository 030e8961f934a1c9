"""A checkpoint's policy as a Hugging Face folder, made from the files alone: no ranks, no Ray.

Invariant: it is the folder that the run would have exported at that step, bit for bit.
"""

import contextlib
import io
from pathlib import Path

import torch

from configs.training import LoraConfig
from learner.checkpoints.convert import MODEL_STATES
from learner.checkpoints.folder import CheckpointError, read_manifest
from learner.checkpoints.layout import RANKS_FOLDER, TAG, Layout
from learner.model import lora
from learner.weights.hf_folder import write_hf_folder

PREFIX = "model."
"""Beginning of the parameters' names in a checkpoint: the policy is a part of what the ranks train."""


def export_checkpoint(checkpoint: str | Path, out: str | Path, model_dir: str | None = None) -> Path:
    """Write the policy of a `step-NNNNNN` folder to `out`, which transformers and vLLM load; returns its absolute path.
    Config, tokenizer and processor are those of `model_dir`, the model that the run began with; None takes it from
    where it was then. Raises CheckpointError where the checkpoint is not whole, or that model is gone or is another
    one."""
    from transformers import Qwen3VLForConditionalGeneration

    read_manifest(checkpoint)
    folder, out = Path(checkpoint).absolute() / RANKS_FOLDER, Path(out).absolute()
    layout = Layout.read(folder)
    model_dir = model_dir or layout.model_dir
    dtype = getattr(torch, layout.dtype)
    try:
        model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir, dtype=dtype)
    except OSError as error:
        raise CheckpointError(
            f"{checkpoint}: was trained from {model_dir}, which cannot be read ({str(error).splitlines()[0]}); "
            "name that model with --model"
        ) from None
    held = {name.removeprefix(PREFIX): tensor for name, tensor in _module(folder, layout.zero_stage).items()}
    # In the type that the ranks compute in, in which they merge an adapter too.
    held = {name: tensor.to(dtype).contiguous() for name, tensor in held.items()}
    if layout.lora_rank:
        held = lora.merged(held, LoraConfig(rank=layout.lora_rank, alpha=layout.lora_alpha))
    named = {name: parameter.shape for name, parameter in model.named_parameters()}
    odd = [name for name, shape in named.items() if name not in held or held[name].shape != shape]
    if odd:
        raise CheckpointError(
            f"{checkpoint}: was not trained from {model_dir} ({odd[0]} differs); name it with --model"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_hf_folder({name: held[name] for name in named}, model, model_dir, out)
    return out


def _module(folder: Path, zero_stage: int) -> dict[str, torch.Tensor]:
    """Read the module's tensors by name, as DeepSpeed saved them."""
    if zero_stage < 3:
        return torch.load(folder / TAG / MODEL_STATES[2], map_location="cpu", weights_only=False)["module"]
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with contextlib.redirect_stdout(io.StringIO()):
        return get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=TAG)
