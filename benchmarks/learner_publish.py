"""Publishing new weights to a real vLLM engine, against a bare copy of the same bytes into shared memory.

The limit is what no way through shared memory can do without: to copy
the state dict once. It is measured twice, into shared memory that is new and into some that was written before.
"""

import dataclasses
import mmap
import os
import tempfile
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load_file

from actors.engine.supervision import Engines
from benchmarks.measure import Ratio, ratio, side_by_side, table
from configs import Config
from configs.policy import EngineConfig, TinyModelConfig
from learner.model.tiny import build_tiny_model
from learner.ranks.group import RankGroup

LARGE = TinyModelConfig(hidden_size=768, layers=8, intermediate_size=3072, vision_hidden_size=256)
"""About 300 MB of float32 weights."""
SMALL = dataclasses.replace(LARGE, hidden_size=512, intermediate_size=2048, layers=7)
"""About 120 MB."""
LABELS = {"publish": "publish", "new": "a copy into new memory", "old": "a copy into memory written before"}
TEXTS = ["<think>row 2 col 4 red</think><answer>red</answer>"] * 20


class Copy:
    """A bare copy of a state dict into shared memory of its size."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._tensors = list(tensors.values())
        self.nbytes = sum(tensor.nbytes for tensor in self._tensors)
        self._kept = self._memory()

    def into_new(self) -> None:
        """Into shared memory that is made and given back."""
        self._copy(self._memory())

    def into_old(self) -> None:
        """Into shared memory that was written before."""
        self._copy(self._kept)

    def _memory(self) -> torch.Tensor:
        file = os.memfd_create("bare-copy")
        os.ftruncate(file, self.nbytes)
        memory = torch.frombuffer(mmap.mmap(file, self.nbytes), dtype=torch.uint8)
        os.close(file)
        return memory

    def _copy(self, memory: torch.Tensor) -> None:
        start = 0
        for tensor in self._tensors:
            memory[start : start + tensor.nbytes].copy_(tensor.view(-1).view(torch.uint8))
            start += tensor.nbytes


def publish_over_copy(repeats: int, quick: bool) -> dict[str, Ratio]:
    """Compare the wall time of `RankGroup.publish` to one engine, checksums and all, with that of a bare copy.

    Returns:
        publish_over_copy: over a copy into new shared memory, as `measure.ratio`; publish_over_copy_into_old_memory:
        over one into shared memory that was written before.
    """
    config = Config(engine=EngineConfig(max_model_len=512, max_num_seqs=8, max_num_batched_tokens=1024))
    config.ranks.cpus_per_rank = config.engine.cpu_threads = 1
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        model_dir = build_tiny_model(SMALL if quick else LARGE, TEXTS, Path(folder) / "model", seed=0)
        engines = Engines(config.engine, str(model_dir))
        ranks = RankGroup(config, str(model_dir))
        try:
            engines.wait()
            tensors = load_file(model_dir / "model.safetensors")
            copy = Copy({name: tensor.clone() for name, tensor in tensors.items()})
            torch.set_num_threads(1)
            copy.into_old()
            ranks.publish(engines.handles, 1)
            rivals = {
                "publish": lambda repeat: ranks.publish(engines.handles, repeat + 2),
                "new": lambda _: copy.into_new(),
                "old": lambda _: copy.into_old(),
            }
            taken = side_by_side(rivals, repeats)
        finally:
            torch.set_num_threads(threads)
            ranks.close()
            engines.close()
    rows = [[LABELS[name], median(seconds), min(seconds)] for name, seconds in taken.items()]
    table(f"Publishing {copy.nbytes / 2**20:.0f} MiB to one engine", ["", "median s", "best s"], rows)
    return {
        "publish_over_copy": ratio(taken["publish"], taken["new"]),
        "publish_over_copy_into_old_memory": ratio(taken["publish"], taken["old"]),
    }
