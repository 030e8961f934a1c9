"""The policy as a Hugging Face folder: what transformers and vLLM load.

Invariant: names and shapes are those of the Hugging Face model, whatever the ranks did to the parameters.
"""

from pathlib import Path

import torch
from transformers import AutoProcessor, PreTrainedModel

from storage.files import whole_folder


def write_hf_folder(tensors: dict[str, torch.Tensor], model: PreTrainedModel, model_dir: str, path: str | Path) -> None:
    """Write the weights, with the config of `model` and the processor of `model_dir`; whole or not at all."""
    with whole_folder(path) as partial:
        model.save_pretrained(partial, state_dict=tensors)
        AutoProcessor.from_pretrained(model_dir).save_pretrained(partial)
