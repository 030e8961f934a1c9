"""decord as a fast path, proven on each file before it is used. Runs in the decode process.

decord returns wrong frames, silently, on files with untidy timestamps; so `proven` compares it with PyAV.
"""

import time
from collections.abc import Sequence

import numpy as np

from tools.pyav_reader import PyavReader

PROBES = (0.97, 0.3, 0.31, 0.0)
"""Places in the file, as shares of its frames, that are compared, in an order that makes both readers seek."""


class DecordReader:
    """A video file read by frame index with decord.

    Raises:
        ImportError: decord is not installed.
    """

    def __init__(self, path: str) -> None:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        self._reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)

    def __len__(self) -> int:
        return len(self._reader)

    def times(self) -> np.ndarray:
        """[frames] seconds, in decord's single precision."""
        return self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0].astype(np.float64)

    def read(self, index: int) -> np.ndarray:
        """Frame `index`, [H, W, 3] uint8 RGB."""
        return self._reader[index].asnumpy()


def proven(fast: DecordReader, truth: PyavReader) -> bool:
    """Whether decord has PyAV's timestamps and, on the probe frames, PyAV's very bytes, and is quicker at it."""
    times = truth.index.times
    if len(fast) != len(times) or truth.index.quarter_turns:
        return False
    # Single precision carries seven digits.
    if np.any(np.abs(fast.times() - times) > 1e-6 + 2e-7 * np.abs(times)):
        return False
    probes = [int(share * (len(times) - 1)) for share in PROBES]
    start = time.perf_counter()
    expected = [truth.read(i) for i in probes]
    middle = time.perf_counter()
    got = [fast.read(i) for i in probes]
    quicker = time.perf_counter() - middle < middle - start
    return quicker and _same(probes, expected, got)


def _same(probes: Sequence[int], expected: Sequence[tuple[int, np.ndarray]], got: Sequence[np.ndarray]) -> bool:
    return all(
        index == probe and np.array_equal(pixels, other)
        for probe, (index, pixels), other in zip(probes, expected, got, strict=True)
    )
