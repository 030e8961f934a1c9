"""Checksums: of parts and wholes, of any order, of any size."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.checksum import CHUNK, checksum, differing, exact, grouped

ROWS = st.integers(1, 5)


def number(tensor: torch.Tensor, dtype: Any = None) -> int:
    return exact({"": checksum(tensor, dtype)})[""]


@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(0, 3), st.sampled_from([torch.float32, torch.bfloat16]))
def test_a_fused_and_padded_parameter_has_the_sum_of_its_parts(rows: list[int], padding: int, dtype: Any) -> None:
    parts = {str(i): torch.randn(count, 12).to(dtype) for i, count in enumerate(rows)}
    fused = torch.cat([*parts.values(), torch.zeros(padding, 12, dtype=dtype)])
    sums = exact({name: checksum(part) for name, part in parts.items()})
    assert grouped(sums, dict.fromkeys(parts, "fused")) == {"fused": number(fused)}


def test_one_changed_bit_shows_wherever_it_is() -> None:
    tensor = torch.randn(2 * CHUNK + 3)
    for index in (0, CHUNK, 2 * CHUNK + 2):
        other = tensor.clone()
        other.view(torch.int32)[index] ^= 1
        assert number(other) != number(tensor)


def test_a_checksum_in_another_type_is_that_of_the_converted_tensor() -> None:
    tensor = torch.randn(CHUNK + 5)
    assert number(tensor, torch.bfloat16) == number(tensor.bfloat16()) != number(tensor)


def test_a_size_that_is_no_whole_number_of_words_counts_to_its_end() -> None:
    tensor = torch.randn(7)
    other = tensor.clone()
    other[6] += 1
    assert number(torch.nn.functional.pad(tensor, (0, 9))) == number(tensor) != number(other)
    assert number(torch.nn.functional.pad(tensor, (1, 0))[1:]) == number(tensor)


def test_views_count_what_they_show() -> None:
    tensor = torch.randn(6, 8)
    assert number(tensor[:, 2:4]) == number(tensor[:, 2:4].clone())


@pytest.mark.parametrize(
    ("sent", "held", "odd"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, []),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["b"]),
        ({"a": 1}, {"a": 1, "c": 0}, ["c"]),
        ({"b": 2, "a": 1}, {}, ["a", "b"]),
    ],
)
def test_what_differs_or_is_missing_is_named(sent: dict[str, int], held: dict[str, int], odd: list[str]) -> None:
    assert differing(sent, held) == odd
