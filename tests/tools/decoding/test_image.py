import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from tests.films import movies
from tools.decoding.image import fit, open_image, resize
from tools.decoding.video import VideoError, read_frame

sides = st.integers(1, 5000)


@given(width=sides, height=sides, max_pixels=st.integers(1, 10**6), multiple=st.sampled_from([1, 14, 28, 32]))
def test_fit_gives_multiples_within_the_budget(width: int, height: int, max_pixels: int, multiple: int) -> None:
    w, h = fit(width, height, max_pixels, multiple, 0)
    assert w % multiple == h % multiple == 0
    assert min(w, h) >= multiple
    assert w * h <= max(max_pixels, multiple**2)
    assert w < width + multiple
    assert h < height + multiple


@given(width=st.integers(64, 4000), height=st.integers(64, 4000), max_pixels=st.integers(50_000, 10**6))
def test_fit_keeps_the_aspect_and_uses_the_budget(width: int, height: int, max_pixels: int) -> None:
    if max(width, height) > 3 * min(width, height):
        return
    w, h = fit(width, height, max_pixels, 16, 0)
    # Half a multiple of rounding on the shorter side, and as much on the longer.
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    shorter = min(width, height) * scale
    assert abs(math.log(w / h) - math.log(width / height)) <= 1.5 * 16 / shorter
    assert w * h >= 0.5 * min(max_pixels, width * height)


@pytest.mark.parametrize(
    ("source", "budget", "multiple", "expected"),
    [
        ((192, 192), 96 * 96, 32, (96, 96)),
        ((192, 192), 112_896, 32, (192, 192)),
        ((1920, 1080), 112_896, 32, (416, 256)),
        ((1080, 1920), 112_896, 32, (256, 416)),
        ((100, 100), 10**6, 32, (96, 96)),
        ((1000, 10), 10_240, 32, (320, 32)),
        ((10, 10), 100, 32, (32, 32)),
    ],
)
def test_fit_by_example(source: tuple[int, int], budget: int, multiple: int, expected: tuple[int, int]) -> None:
    assert fit(*source, budget, multiple, 0) == expected


EDGES = st.one_of(st.integers(16, 7680), st.sampled_from([16, 17, 31, 32, 33, 144, 240, 256, 4320, 7680]))


@given(
    width=EDGES, height=EDGES, max_pixels=st.sampled_from([65_536, 65_537, 80_000, 112_896, 200_704, 10**6, 16_777_216])
)
@example(320, 180, 112_896)
@example(16, 16, 65_536)
@example(7680, 16, 112_896)
@example(16, 4320, 65_536)
def test_the_processor_of_qwen3_vl_leaves_what_is_fed_as_it_is(width: int, height: int, max_pixels: int) -> None:
    w, h = fit(width, height, max_pixels, 32)
    assert smart_resize(h, w, factor=32, min_pixels=65_536, max_pixels=max_pixels) == (h, w)
    if max(width, height) <= 3 * min(width, height) and max_pixels >= 112_896:
        assert abs(math.log(w / h) - math.log(width / height)) <= 1.5 * 32 / min(w, h)


def test_fit_refuses_sizes_that_are_none() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        fit(0, 10, 100, 32)


def test_resize_is_repeatable_and_leaves_the_right_size_alone() -> None:
    pixels = movies.picture(181)
    assert resize(pixels, 192, 192) is pixels
    small = resize(pixels, 96, 64)
    assert small.shape == (64, 96, 3)
    assert np.array_equal(small, resize(pixels.copy(), 96, 64))
    assert movies.number(small) == 181


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_an_image_file_is_a_frame_and_can_be_read_again(tmp_path: Path, mode: str) -> None:
    path = str(tmp_path / "mark.png")
    Image.fromarray(movies.picture(77)).convert(mode).save(path)
    frame = open_image(path, 12.25, 96 * 96, 32)
    assert (frame.ref.path, frame.ref.time_s, frame.ref.width, frame.ref.height) == (path, None, 96, 96)
    assert frame.time_s == 12.25
    assert movies.number(frame.pixels) == 77
    assert np.array_equal(read_frame(frame.ref), frame.pixels)


def test_an_image_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for name, content in {"text.png": b"no image", "empty.png": b"", "torn.png": torn(tmp_path)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match="not a readable image"):
            open_image(str(tmp_path / name), 0.0, 100, 1)
    with pytest.raises(VideoError, match="no such image file"):
        open_image(str(tmp_path / "missing.png"), 0.0, 100, 1)


def torn(folder: Path) -> bytes:
    Image.fromarray(movies.picture(5)).save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    return data[: len(data) // 2]
