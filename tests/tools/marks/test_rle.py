"""Run-length encoding: what goes in comes out, and no malformed string reaches the C code."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from tools.marks.rle import MAX_PIXELS, RleError, area, box, decode, encode

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=24))
LIKELY = st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=12)
SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=2)


@given(MASKS)
def test_a_mask_survives_json(mask: np.ndarray) -> None:
    rle = json.loads(json.dumps(encode(mask)))
    back = decode(rle)
    assert back.dtype == bool
    assert back.flags.c_contiguous
    assert np.array_equal(back, mask)


@given(MASKS)
def test_area_and_box_are_those_of_the_pixels(mask: np.ndarray) -> None:
    rle = encode(mask)
    assert area(rle) == mask.sum()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        assert box(rle) == (0, 0, 0, 0)
    else:
        assert box(rle) == (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_any_number_is_a_mask_s() -> None:
    assert area(encode(np.array([[0, 2], [0.5, 0]]))) == 2
    strided = np.ones((8, 8), bool)[::2, ::-1]
    assert area(encode(strided)) == 32


@given(SIZES, LIKELY | st.text(max_size=6))
@example([3, 3], "o")
@example([3, 3], "oooooooooooooooooo")
@example([3, 3], "")
def test_any_counts_are_decoded_or_refused(size: list[int], counts: str) -> None:
    rle = {"size": size, "counts": counts}
    try:
        mask = decode(rle)
    except RleError:
        return
    assert list(mask.shape) == size
    assert area(rle) == mask.sum()


@given(MASKS, st.data())
def test_a_damaged_encoding_is_refused_or_fills_the_mask(mask: np.ndarray, data: st.DataObject) -> None:
    rle = encode(mask)
    counts = rle["counts"]
    at = data.draw(st.integers(0, len(counts)))
    damaged = {**rle, "counts": counts[:at] + data.draw(LIKELY) + counts[at + data.draw(st.integers(0, 3)) :]}
    try:
        other = decode(damaged)
    except RleError:
        return
    assert other.shape == mask.shape
    assert area(damaged) == other.sum()


@given(arrays.arrays(bool, (200, 300), fill=st.just(False)))
def test_long_runs_and_their_differences_are_read(mask: np.ndarray) -> None:
    assert np.array_equal(decode(encode(mask)), mask)


@pytest.mark.parametrize(
    "rle",
    [
        None,
        [],
        {},
        {"size": [3, 3]},
        {"size": [3], "counts": "9"},
        {"size": [0, 3], "counts": ""},
        {"size": [-3, -3], "counts": "9"},
        {"size": [True, 9], "counts": "9"},
        {"size": [3.0, 3], "counts": "9"},
        {"size": [3, 3], "counts": [4, 4]},
        {"size": [3, 3], "counts": [4, 6]},
        {"size": [3, 3], "counts": [10, -1]},
        {"size": [3, 3], "counts": [4.0, 5]},
        {"size": [1, 1], "counts": [True]},
        {"size": [3, 3], "counts": ["4", "5"]},
        {"size": [MAX_PIXELS, 2], "counts": [2 * MAX_PIXELS]},
        {"size": [3, 3], "counts": b"9"},
        {"size": [3, 3], "counts": "9\n"},
        {"size": [3, 3], "counts": "8"},
        {"size": [3, 3], "counts": ":"},
        {"size": [MAX_PIXELS, 2], "counts": "0"},
        {"size": [10**30, 10**30], "counts": "0"},
    ],
)
def test_what_is_no_encoding_is_refused(rle: Any) -> None:
    for reads in (decode, area, box):
        with pytest.raises(RleError):
            reads(rle)


@given(MASKS)
def test_runs_as_numbers_are_read_too(mask: np.ndarray) -> None:
    pixels = mask.ravel(order="F")
    ends = [*(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1), len(pixels)]
    runs = [0] * bool(pixels[0]) + [int(run) for run in np.diff([0, *ends])]
    rle = {"size": list(mask.shape), "counts": runs}
    assert np.array_equal(decode(rle), mask)
    assert area(rle) == mask.sum()


def test_an_empty_run_may_stand_anywhere_among_numbers() -> None:
    assert decode({"size": [4, 3], "counts": [2, 3, 7]}).sum() == 3
    assert decode({"size": [2, 2], "counts": [0, 1, 0, 2, 1, 0]}).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 2, 2)])
def test_what_is_no_mask_is_not_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(RleError, match="is no mask"):
        encode(np.zeros(shape, bool))


def test_it_is_the_coco_format() -> None:
    mask = np.zeros((5, 4), bool)
    mask[1:3, 1:3] = True
    assert encode(mask)["counts"].encode() == coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
