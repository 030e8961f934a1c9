"""Which way the weights go."""

from typing import Any

import pytest

from configs.training import RanksConfig
from learner.weights.transport import choose

TWO, FOUR = ("gpu-0", "gpu-1"), [("gpu-2", "gpu-3"), ("gpu-4", "gpu-5")]


@pytest.mark.parametrize(
    ("transport", "weights_dir", "ranks", "engines", "way"),
    [
        ("auto", None, (), [()], "shared_memory"),
        ("auto", None, TWO, [()], "shared_memory"),
        ("auto", None, (), FOUR, "shared_memory"),
        ("auto", "/mnt/all", (), [()], "file"),
        ("auto", None, TWO, FOUR, "nccl"),
        ("auto", None, TWO, [("gpu-0",), ("gpu-1",)], "ipc"),
        ("auto", None, TWO, [("gpu-0",), ("gpu-2",)], "nccl"),
        ("auto", "/mnt/all", TWO, FOUR, "file"),
        ("file", None, TWO, FOUR, "file"),
        ("nccl", None, TWO, [("gpu-0",)], "nccl"),
        ("shared_memory", "/mnt/all", TWO, FOUR, "shared_memory"),
    ],
)
def test_the_way_follows_from_config_and_places(
    transport: Any, weights_dir: str | None, ranks: tuple[str, ...], engines: list[tuple[str, ...]], way: str
) -> None:
    assert choose(RanksConfig(transport=transport, weights_dir=weights_dir), ranks, engines) == way


@pytest.mark.parametrize(
    ("transport", "ranks", "engines", "reason"),
    [("nccl", (), [()], "on GPUs"), ("ipc", TWO, [()], "on GPUs"), ("ipc", TWO, FOUR, "own GPUs")],
)
def test_a_way_that_cannot_be_is_refused(
    transport: Any, ranks: tuple[str, ...], engines: list[tuple[str, ...]], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        choose(RanksConfig(transport=transport), ranks, engines)
