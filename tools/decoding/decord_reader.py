"""decord as a fast path, proven on each file before it is used. Runs in the decode process.

decord returns wrong frames, silently, on files with untidy timestamps; so `speedup` compares it with PyAV.
"""

import time

import numpy as np

from tools.decoding.pyav_reader import PyavReader

PROBES = (0.97, 0.3, 0.31, 0.0)
"""Places in the file, as shares of its frames, that are compared, in an order that makes both readers seek."""


class DecordReader:
    """A video file read by frame index with decord. Raises ImportError: decord is not installed."""

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


def speedup(fast: DecordReader, truth: PyavReader) -> float:
    """PyAV's time over decord's on the probe frames; 0 where decord has not PyAV's timestamps and very bytes."""
    times = truth.index.times
    if len(fast) != len(times) or truth.index.estimated or any(truth.index.orientation):
        return 0.0
    # Single precision carries seven digits.
    if np.any(np.abs(fast.times() - times) > 1e-6 + 2e-7 * np.abs(times)):
        return 0.0
    probes = [int(share * (len(times) - 1)) for share in PROBES]
    start = time.perf_counter()
    expected = [truth.read(i) for i in probes]
    middle = time.perf_counter()
    got = [fast.read(i) for i in probes]
    end = time.perf_counter()
    for probe, (index, pixels), other in zip(probes, expected, got, strict=True):
        if index != probe or not np.array_equal(pixels, other):
            return 0.0
    return (middle - start) / (end - middle)
