"""Publishing new weights to a real vLLM engine, against a bare copy of the same bytes into shared memory.

The limit is what no way through shared memory can do without: to copy the state dict once. It is measured twice, into
shared memory that is new and into some that was written before.
"""

import dataclasses
import mmap
import os
import tempfile
from collections.abc import Sequence
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
PUBLISH, NEW, OLD = "publish", "a copy into new memory", "a copy into memory written before"
TEXTS = ["<think>row 2 col 4 red</think><answer>red</answer>"] * 20


def shared_memory(nbytes: int) -> torch.Tensor:
    """New memory that processes can share, [nbytes] uint8; given back with the tensor."""
    file = os.memfd_create("bare-copy")
    os.ftruncate(file, nbytes)
    memory = torch.frombuffer(mmap.mmap(file, nbytes), dtype=torch.uint8)
    os.close(file)
    return memory


def copy_into(memory: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Copy tensors, one behind the other."""
    start = 0
    for tensor in tensors:
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
            tensors = [tensor.clone() for tensor in load_file(model_dir / "model.safetensors").values()]
            nbytes = sum(tensor.nbytes for tensor in tensors)
            written_before = shared_memory(nbytes)
            torch.set_num_threads(1)
            copy_into(written_before, tensors)
            ranks.publish(engines.handles, 1)
            rivals = {
                PUBLISH: lambda repeat: ranks.publish(engines.handles, repeat + 2),
                NEW: lambda _: copy_into(shared_memory(nbytes), tensors),
                OLD: lambda _: copy_into(written_before, tensors),
            }
            taken = side_by_side(rivals, repeats)
        finally:
            torch.set_num_threads(threads)
            ranks.close()
            engines.close()
    rows = [[name, median(seconds), min(seconds)] for name, seconds in taken.items()]
    table(f"Publishing {nbytes / 2**20:.0f} MiB to one engine", ["", "median s", "best s"], rows)
    return {
        "publish_over_copy": ratio(taken[PUBLISH], taken[NEW]),
        "publish_over_copy_into_old_memory": ratio(taken[PUBLISH], taken[OLD]),
    }
