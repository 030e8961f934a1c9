"""Picture sizes, resizing, and image files.

Invariant: `resize` is the only place where pixels are scaled, so a frame and its `read_frame` can't differ.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import numpy as np
from PIL import ExifTags, Image, ImageOps

from tools.decoding.frame import Frame, FrameRef, VideoError

QWEN3_VL_MIN_PIXELS = 65_536
"""Fewest pixels of a picture that Qwen3-VL's processor leaves as it is."""
MOST_ASPECT = 200
"""Longer over shorter side of a picture beyond which it refuses one."""
REDUCING_GAP = 2.0
"""A large picture is first brought to at least this many times its target by whole factors, in half the time."""


def fit(
    width: int, height: int, max_pixels: int, multiple: int, min_pixels: int = QWEN3_VL_MIN_PIXELS
) -> tuple[int, int]:
    """The (width, height) that a picture is fed at: multiples of `multiple`, `min_pixels` to `max_pixels` together.

    Of the sizes next to the ideal one, that which distorts the aspect least. A picture is enlarged to reach the nearest
    multiple, or `min_pixels`, with which one side is at most `MOST_ASPECT` times the other. Each side has at least one
    multiple, even where `max_pixels` is less than that.
    """
    if min(width, height, max_pixels, multiple) < 1:
        raise ValueError(f"sizes must be positive: {width}x{height}, {max_pixels} pixels, multiple {multiple}")
    budget = max(1, max_pixels // multiple**2)
    least = min(budget, max(1, -(-min_pixels // multiple**2)))
    scale = min(math.sqrt(max_pixels / (width * height)), max(1.0, math.sqrt(min_pixels / (width * height))))
    ideal = width * scale / multiple, height * scale / multiple
    longest = MOST_ASPECT if min_pixels else max(budget, width, height)
    if max(ideal) > longest * min(ideal):
        long, short = (math.sqrt(ideal[0] * ideal[1] * share) for share in (longest, 1 / longest))
        ideal = (long, short) if width > height else (short, long)

    def distortion(cells: tuple[int, int]) -> tuple[float, float]:
        aspect = abs(math.log(cells[0] * height / (cells[1] * width)))
        return round(aspect, 9), abs(cells[0] * cells[1] - ideal[0] * ideal[1])

    columns, rows = min(_candidates(ideal, least, budget, longest), key=distortion)
    return columns * multiple, rows * multiple


def _candidates(ideal: tuple[float, float], least: int, budget: int, longest: int) -> list[tuple[int, int]]:
    """Pairs of columns and rows near the ideal ones whose product is `least` to `budget`, one at most `longest` times
    the other; at least one."""
    near = [{min(max(1, round_(side)), budget) for round_ in (math.floor, math.ceil)} for side in ideal]
    pairs = []
    for columns, rows in product(*near):
        pairs.append((min(max(columns, -(-least // rows)), budget // rows), rows))
        pairs.append((columns, min(max(rows, -(-least // columns)), budget // columns)))
    fair = [pair for pair in pairs if least <= pair[0] * pair[1] and max(pair) <= longest * min(pair)]
    side = math.isqrt(budget)
    return fair or [(side, budget // side)]


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """`pixels` [H, W, 3] uint8 at another size: bicubic with antialiasing; the same input gives the same bytes."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP))


def open_image(path: str, time_s: float | None, max_pixels: int, multiple: int, min_pixels: int = 0) -> Frame:
    """An image file as a frame that is labelled `time_s`, None if its time is not known. Raises VideoError: it cannot
    be read."""
    pixels = load_image(path)
    width, height = fit(pixels.shape[1], pixels.shape[0], max_pixels, multiple, min_pixels)
    pixels = resize(pixels, width, height)
    pixels.setflags(write=False)
    return Frame(FrameRef(path, None, width, height), pixels, math.nan if time_s is None else time_s)


def image_size(path: str) -> tuple[int, int]:
    """Width and height of an image file, upright, from its header. Raises VideoError: it cannot be read."""
    with _opened(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (image.height, image.width) if turned else image.size


def read_image(ref: FrameRef) -> np.ndarray:
    """The pixels that `open_image` gave for this reference."""
    pixels = resize(load_image(ref.path), ref.width, ref.height)
    pixels.setflags(write=False)
    return pixels


def load_image(path: str) -> np.ndarray:
    """An image file at its own size, upright, [height, width, 3] uint8 RGB. Raises VideoError: it cannot be read."""
    with _opened(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise VideoError(f"{path}: no such image file") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: not a readable image ({error})") from None
