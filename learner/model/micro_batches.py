"""How a step is cut into forward passes, and its passes are dealt out to ranks.

Pure functions. Invariant: every trajectory is in exactly one pass of one rank, and all ranks have as many passes.
"""

import heapq
import math
from collections.abc import Sequence
from itertools import groupby


def micro_batches(
    lengths: Sequence[int], max_tokens: int, ranks: int = 1, *, packed: bool = False
) -> list[list[tuple[int, ...]]]:
    """Cut a step into forward passes: for each rank the same number of them, each a tuple of trajectory indices.

    A pass holds at most `max_tokens` tokens, padding included, unless one trajectory alone is longer. Where there are
    fewer trajectories than ranks, a pass is empty. Padded, trajectories of like length go together, so that little is
    padding; `packed`, all passes have about the same number of tokens.
    """
    by_length = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    if packed:
        parts = _packs(lengths, by_length, max_tokens, ranks)
    else:
        parts = _padded_parts(lengths, by_length, max_tokens, ranks)
    shares: list[list[tuple[int, ...]]] = [[] for _ in range(ranks)]
    for start in range(0, len(parts), ranks):
        light_first = sorted(range(ranks), key=lambda rank: sum(lengths[i] for part in shares[rank] for i in part))
        for rank, part in zip(light_first, parts[start : start + ranks], strict=True):
            shares[rank].append(tuple(part))
    return shares


def _padded_parts(lengths: Sequence[int], by_length: list[int], max_tokens: int, ranks: int) -> list[list[int]]:
    """Cut into a multiple of `ranks` parts, the costliest first."""
    parts: list[list[int]] = []
    for i in by_length:
        if parts and lengths[parts[-1][0]] * (len(parts[-1]) + 1) <= max_tokens:
            parts[-1].append(i)
        else:
            parts.append([i])

    def cost(part: list[int]) -> int:
        return lengths[part[0]] * len(part) if part else 0

    while len(parts) % ranks or not parts:
        widest = max(parts, key=lambda part: (len(part) > 1, cost(part)), default=[])
        half = len(widest) // 2
        parts.append(widest[half:] if half else [])
        del widest[half or len(widest) :]
    return sorted(parts, key=cost, reverse=True)


def _packs(lengths: Sequence[int], by_length: list[int], max_tokens: int, ranks: int) -> list[list[int]]:
    """Cut into as few packs as hold at most `max_tokens` each, a multiple of `ranks`, the longest first. Each
    trajectory, from the longest to the shortest, goes where there are fewest tokens (Graham's LPT rule)."""
    count = ranks * max(1, math.ceil(sum(lengths) / (max_tokens * ranks)))
    while True:
        packs: list[list[int]] = [[] for _ in range(count)]
        loads = [(0, pack) for pack in range(count)]
        for i in by_length:
            load, pack = heapq.heappop(loads)
            packs[pack].append(i)
            heapq.heappush(loads, (load + lengths[i], pack))
        loads.sort(reverse=True)
        if all(load <= max_tokens or len(packs[pack]) == 1 for load, pack in loads):
            return [packs[pack] for _, pack in loads]
        count += ranks


def mini_batches(task_ids: Sequence[str], prompts: int) -> list[list[int]]:
    """Cut trajectories, those of one task next to each other, into lists of indices of whole groups: as many as there
    are `prompts` among the tasks, begun ones too, and of the same number of groups but for one."""
    runs = [list(run) for _, run in groupby(range(len(task_ids)), task_ids.__getitem__)]
    parts = -(-len(runs) // prompts)
    cuts = [runs[len(runs) * k // parts : len(runs) * (k + 1) // parts] for k in range(parts)]
    return [[i for run in cut for i in run] for cut in cuts]
