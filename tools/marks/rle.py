"""Masks as COCO run-length encoding, the form in which records and other tools' annotations hold them.

Invariant: pycocotools sees only encodings that were checked here, since it reads and writes out of bounds where the
runs do not fill the mask.
"""

import numpy as np
from pycocotools import mask as coco

from storage.files import JsonObject

MAX_PIXELS = 2**27
"""Largest mask that is decoded, pixels: four times an 8K frame."""
MAX_GROUPS = 6
"""Characters of one number, five bits each: any run of `MAX_PIXELS` and its sign fit, and C's int holds them all."""

Rle = JsonObject
"""`{"size": [height, width], "counts": str}`; what is read may hold COCO's uncompressed counts, a list of runs."""


class RleError(ValueError):
    """A run-length encoding is malformed, as all that read one here check; the message is one sentence."""


def encode(mask: np.ndarray) -> Rle:
    """`{"size": [height, width], "counts": str}` of a [H, W] mask, bool or zero and other than zero; fit for JSON.

    Raises:
        RleError: not a mask of one picture, or larger than `MAX_PIXELS`.
    """
    if mask.ndim != 2 or not 0 < mask.size <= MAX_PIXELS:
        raise RleError(f"an array of shape {list(mask.shape)} is no mask: it takes [height, width], not empty")
    encoded = coco.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    return {"size": [int(side) for side in mask.shape], "counts": encoded["counts"].decode("ascii")}


def decode(rle: Rle) -> np.ndarray:
    """[H, W] bool."""
    return np.ascontiguousarray(coco.decode(_checked(rle)).astype(bool))


def area(rle: Rle) -> int:
    """Pixels of the mask."""
    return int(coco.area(_checked(rle)))


def box(rle: Rle) -> tuple[float, float, float, float]:
    """x, y, width, height in pixels around the mask; zeros if it is empty."""
    checked = _checked(rle)
    if not coco.area(checked):
        return 0.0, 0.0, 0.0, 0.0
    x, y, width, height = (float(side) for side in coco.toBbox(checked))
    return x, y, width, height


def _checked(rle: object) -> Rle:
    """The encoding as pycocotools takes it."""
    if not isinstance(rle, dict) or not {"size", "counts"} <= rle.keys():
        raise RleError('a run-length encoding is {"size": [height, width], "counts": str}, and this is none')
    size, counts = rle["size"], rle["counts"]
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise RleError(f"size of a run-length encoding must be [height, width] in whole pixels, not {size!r:.60}")
    height, width = size
    if height * width > MAX_PIXELS:
        raise RleError(f"a mask of {width}x{height} pixels is larger than the {MAX_PIXELS} pixels that are read")
    if isinstance(counts, list):
        return _compressed(counts, height, width)
    if not isinstance(counts, str) or not counts.isascii():
        raise RleError(f"counts of a run-length encoding must be COCO's string or a list of runs, not {counts!r:.60}")
    _check_runs(counts, height * width)
    return {"size": [height, width], "counts": counts.encode("ascii")}


def _compressed(runs: list[object], height: int, width: int) -> Rle:
    """Of runs as numbers, column by column, the first of them background: crowd annotations and mask generators."""
    lengths = [run for run in runs if type(run) is int and run >= 0]
    if len(lengths) != len(runs) or sum(lengths) != height * width:
        raise RleError(f"runs of a run-length encoding must fill {width}x{height} whole pixels, not {runs!r:.60}")
    mask = np.repeat(np.arange(len(lengths), dtype=np.uint8) & 1, lengths).reshape(height, width, order="F")
    return JsonObject(coco.encode(np.asfortranarray(mask)))


def _check_runs(counts: str, pixels: int) -> None:
    """That the runs fill the mask, none but the first is empty and none begins beyond the end."""
    runs: list[int] = []
    value = shift = total = 0
    for place, char in enumerate(counts):
        code = ord(char) - 48
        if not 0 <= code < 64:
            raise RleError(f"counts of a run-length encoding have {char!r} at {place}, which COCO never writes")
        value |= (code & 31) << 5 * shift
        shift += 1
        if shift > MAX_GROUPS:
            raise RleError(f"counts of a run-length encoding have a number that is too long at {place}")
        if code & 32:
            continue
        if code & 16:
            value -= 1 << 5 * shift
        # From the fourth on, a run is written as its difference from the one before the last.
        run = value + (runs[-2] if len(runs) > 2 else 0)
        if run < (1 if runs else 0) or total + run > pixels:
            raise RleError(f"run {len(runs)} of a run-length encoding is {run} pixels, after {total} of {pixels}")
        runs.append(run)
        total += run
        value = shift = 0
    if shift or total != pixels:
        raise RleError(f"counts of a run-length encoding end after {total} of {pixels} pixels")
