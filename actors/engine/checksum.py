"""Checksums of weights that learner and engines agree on.

Invariant: the checksum of a tensor is the sum of its bytes, read as 64-bit integers, modulo 2^64. A sum knows no order,
so that of a fused parameter, padded with zeros or not, is the sum of its parts' checksums, if these are whole numbers
of 8 bytes long; where parameters are fused at all, their sizes are multiples of 4.
"""

from collections.abc import Mapping

import torch

CHUNK = 2**18
"""Elements converted and summed at once; few enough to stay in a core's cache."""
WORD = 8
"""Bytes of a summand."""
MODULUS = 2**64


def checksum(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The checksum of a tensor as it would be in `dtype` (None takes its own), [] int64 on the tensor's device, so that
    a GPU need not be waited for; `exact` makes it a number."""
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for chunk in tensor.detach().reshape(-1).split(CHUNK):
        values = chunk if dtype is None else chunk.to(dtype)
        missing = -values.nbytes % WORD
        if missing:
            values = torch.nn.functional.pad(values, (0, missing // values.element_size()))
        # Torch wants the start of what it reads as another type to be aligned to it.
        whole = values if values.storage_offset() * values.element_size() % WORD == 0 else values.clone()
        total += whole.view(torch.int64).sum()
    return total


def exact(sums: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Checksums as numbers, 0 to 2^64 - 1."""
    return {name: int(total) % MODULUS for name, total in sums.items()}


def grouped(sums: Mapping[str, int], groups: Mapping[str, str]) -> dict[str, int]:
    """Checksums of the parameters that the tensors are parts of; `groups` names each tensor's parameter."""
    totals: dict[str, int] = {}
    for name, total in sums.items():
        group = groups[name]
        totals[group] = (totals.get(group, 0) + total) % MODULUS
    return totals


def differing(sent: Mapping[str, int], held: Mapping[str, int]) -> list[str]:
    """Parameters whose checksums differ, or that only one side has, in order of their names."""
    return sorted(name for name in sent.keys() | held.keys() if sent.get(name) != held.get(name))
