"""What to turn, and how far, so that a run fits.

Invariant: advice is tried before it is given: the config with its values fits. It asks for as few changes as it can,
the gentlest first: those that leave the results as they are, and only then those that change the method.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from configs.run import Config
from configs.training import LEAST_STAGE
from learner.model.sizes import ModelShape
from learner.planning.memory import GIB, engine_bytes
from learner.planning.plan import USABLE, Machine, Phase, Plan, make_plan

Value = bool | int | float | str
Changes = dict[str, Value]
"""Values by dotted key."""
UNIT = 1024
"""Lengths are advised in multiples of this many tokens."""
MOST_RANKS = 64
"""Where more would be needed, ranks are not the answer."""
COLOCATED_SHARES = (0.5, 0.4, 0.3, 0.2)
"""Shares of a GPU that an engine beside a rank may be given."""
LORA_RANK = 16
"""Rank of the adapter that is advised; others take next to the same memory."""


class PlanError(ValueError):
    """The run cannot fit; the message says in one sentence what to turn."""


def require_fit(config: Config, shape: ModelShape, plan: Plan, phase: Phase) -> None:
    """Raise PlanError for a run that cannot fit, naming what does not fit, and the values that would."""
    if not plan.problems:
        return
    changes = advise(config, shape, plan.machine, phase)
    if changes is None:
        turn = "no setting makes it fit; take a smaller model.path or more memory (ranks.gpu_memory_gib)"
    else:
        turn = "it fits with " + " ".join(f"{key}={str(value).lower()}" for key, value in changes.items())
    raise PlanError(f"{config.name}: {'; '.join(plan.problems)}: {turn}")


def advise(config: Config, shape: ModelShape, machine: Machine, phase: Phase) -> Changes | None:
    """Find changes with which the phase fits; None if there are none. Empty if it fits as it is."""

    def fits(changes: Changes) -> bool:
        other = with_values(config, changes)
        allowed = other.ranks.zero_stage >= LEAST_STAGE[other.ranks.offload]
        return allowed and not make_plan(other, shape, machine, phase).problems

    if fits({}):
        return {}
    knobs = [(key, values) for key, values in _knobs(config, shape, phase) if values]
    for key, values in knobs:
        found = _gentlest(fits, {}, key, values)
        if found is not None:
            return {key: found}
    changes: Changes = {}
    for key, values in knobs:
        found = _gentlest(fits, changes, key, values)
        changes[key] = values[-1] if found is None else found
        if found is not None:
            return _no_more_than_needed(changes, dict(knobs), fits)
    return None


def with_values(config: Config, changes: Mapping[str, Value]) -> Config:
    """Return the config with other values, by dotted key."""
    for key, value in changes.items():
        config = _with_value(config, key, value)
    return config


def _with_value(section: Any, key: str, value: Value) -> Any:
    name, _, rest = key.partition(".")
    return replace(section, **{name: _with_value(getattr(section, name), rest, value) if rest else value})


def _knobs(config: Config, shape: ModelShape, phase: Phase) -> Iterator[tuple[str, Sequence[Value]]]:
    """Yield keys and their values, gentlest first; each value needs less memory than the one before."""
    ranks, episode = config.ranks, config.episode
    yield "ranks.gradient_checkpointing", [True] if not ranks.gradient_checkpointing else []
    yield "ranks.micro_batch_tokens", _down(ranks.micro_batch_tokens)
    yield "ranks.zero_stage", range(max(2, ranks.zero_stage + 1), 4)
    if ranks.gpus_per_rank:
        yield "ranks.offload", ["optimizer", "all"][("none", "optimizer", "all").index(ranks.offload) :]
        yield "ranks.dtype", ["bfloat16"] if ranks.dtype == "float32" else []
        yield "ranks.ranks", range(ranks.ranks + 1, MOST_RANKS + 1)
    else:
        yield "ranks.frame_cache_mib", _halves(ranks.frame_cache_mib, 64)
        yield "ranks.ranks", range(ranks.ranks - 1, 0, -1)
    if phase == "grpo":
        yield from _engine_knobs(config, shape)
    if ranks.gpus_per_rank and "language" in ranks.train:
        yield "ranks.lora.rank", [LORA_RANK] if not ranks.lora.rank else []
    yield "episode.max_tokens", _down(episode.max_tokens)
    if phase == "grpo":
        yield "engine.max_model_len", _down(config.engine.max_model_len)


def _engine_knobs(config: Config, shape: ModelShape) -> Iterator[tuple[str, Sequence[Value]]]:
    engine = config.engine
    if engine.gpus_per_engine:
        present = engine.gpu_memory_utilization
        shares = [share for share in COLOCATED_SHARES if share < present] if engine.colocate else [USABLE]
        yield "engine.gpu_memory_utilization", shares if engine.colocate or present < USABLE else []
        yield "engine.max_num_batched_tokens", _halves(engine.max_num_batched_tokens, 2 * UNIT)
        more = [gpus for gpus in (2, 4, 8) if gpus > engine.gpus_per_engine]
        yield "engine.gpus_per_engine", more if not engine.colocate else []
        return
    least = math.ceil(engine_bytes(shape, engine).sequence / GIB)
    enough = range(math.ceil(engine.kv_cache_gib) - 1, least - 1, -1)
    yield "engine.kv_cache_gib", [least] if engine.kv_cache_gib < least else enough
    yield "engine.engines", range(engine.engines - 1, 0, -1)


def _down(start: int) -> Sequence[int]:
    """Return the multiples of `UNIT` below `start`, from the largest."""
    return range((start - 1) // UNIT * UNIT, 0, -UNIT)


def _halves(start: int, least: int) -> list[int]:
    return [start >> i for i in range(1, start.bit_length()) if start >> i >= least]


def _gentlest(fits: Callable[[Changes], bool], others: Changes, key: str, values: Sequence[Value]) -> Value | None:
    """Find the first value that fits with the other changes; each value needs less than the one before."""

    def fit(value: Value) -> bool:
        return fits({**others, key: value})

    if len(values) <= 4:
        return next((value for value in values if fit(value)), None)
    first = bisect_left(values, True, key=fit)
    return values[first] if first < len(values) else None


def _no_more_than_needed(
    changes: Changes, knobs: Mapping[str, Sequence[Value]], fits: Callable[[Changes], bool]
) -> Changes:
    """Take back the changes without which it fits too, the harshest first, and each of the others no further than it
    has to be; again until nothing is left to take back, as a lesser change can make another needless."""
    before: Changes = {}
    while changes != before:
        before = changes
        for key in reversed(list(changes)):
            others = {other: value for other, value in changes.items() if other != key}
            if fits(others):
                changes = others
            elif (value := _gentlest(fits, others, key, knobs[key])) is not None:
                changes = {**changes, key: value}
    return changes
