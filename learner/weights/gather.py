"""The policy's tensors, whole, one after the other, whatever the ranks did to the parameters.

Invariants: every rank walks in the order of the parts that it is given, which the model alone determines; and besides a
rank's own shards no more than one bucket of whole parameters is in its memory (`walk`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from configs.training import LoraConfig
from learner.model import lora


@dataclass(frozen=True)
class Entry:
    """A tensor as it is sent; the fields of vLLM's `ParamMeta`."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    """Size of the whole tensor."""

    @property
    def nbytes(self) -> int:
        """Of the whole tensor."""
        return self.dtype.itemsize * torch.Size(self.shape).numel()


@dataclass(frozen=True, eq=False)
class Part:
    """A tensor to send and what it is made from: a parameter, or a weight with an adapter's A and B."""

    entry: Entry
    sources: tuple[torch.nn.Parameter, ...]
    scale: float = 0.0
    """Factor of the adapter's product."""

    @property
    def nbytes(self) -> int:
        """Bytes of all that must be whole at once."""
        return sum(value.dtype.itemsize * torch.Size(_shape(value)).numel() for value in self.sources)

    def tensor(self) -> torch.Tensor:
        """Make the tensor on the parameters' device; it is the parameter itself where it is made from one."""
        weight, *product = (value.detach() for value in self.sources)
        return lora.merge(weight, product, self.scale) if product else weight


def policy_parts(model: torch.nn.Module, adapter: LoraConfig | None = None) -> list[Part]:
    """List the whole model by its Hugging Face names, tied parameters once, the `adapter` merged. Gathers nothing."""
    by_name = dict(model.named_parameters())
    scale = adapter.alpha / adapter.rank if adapter is not None and adapter.rank else 0.0
    parts = []
    for name, value in by_name.items():
        if lora.is_part(name):
            continue
        product = [by_name[other] for other in lora.product_of(name)]
        entry = Entry(lora.plain_name(name), value.dtype, _shape(value))
        parts.append(Part(entry, (value, *product), scale))
    return parts


def adapter_parts(model: torch.nn.Module) -> list[Part]:
    """List the adapter alone, under the names of its parameters. Gathers nothing."""
    named = model.named_parameters()
    return [Part(Entry(name, p.dtype, _shape(p)), (p,)) for name, p in named if lora.is_part(name)]


def buckets(sizes: Sequence[int], limit: int) -> list[range]:
    """Cut a row of parts of these sizes, in order, into runs of at most `limit` bytes, none of them empty; one larger
    than that goes alone. Returns the indices of each run."""
    cuts, start, filled = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and filled + size > limit:
            cuts.append(range(start, i))
            start, filled = i, 0
        filled += size
    return [*cuts, range(start, len(sizes))] if sizes else []


def walk(parts: Sequence[Part], *, sharded: bool, bucket_bytes: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and whole tensor of every part, on its device. A tensor is good until the next is asked for. Where
    they are `sharded` by ZeRO-3 all ranks must walk, to the end."""
    if not sharded:
        for part in parts:
            yield part.entry.name, part.tensor()
        return
    import deepspeed

    for run in buckets([part.nbytes for part in parts], bucket_bytes):
        bucket = [parts[i] for i in run]
        with deepspeed.zero.GatheredParameters([value for part in bucket for value in part.sources]):
            for part in bucket:
                yield part.entry.name, part.tensor()


def _shape(value: torch.nn.Parameter) -> tuple[int, ...]:
    # ZeRO-3 leaves an empty tensor and keeps the shape beside it.
    return tuple(getattr(value, "ds_shape", value.shape))
