"""Pixels of frames as patches, kept as bytes.

Invariant: `normalise(patches.load([ref]))` equals the model's own image processor on the same frame, bit for bit. What
is kept is an eighth of the processor's output: one byte a value instead of a float32, and a still once instead of once
for each of the two frames of a temporal patch.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby

import numpy as np
import torch
from transformers import BaseImageProcessor

from tools.decoding.frame import FrameRef, VideoError
from tools.decoding.thread_safe_cache import ThreadSafeCache
from tools.decoding.video import read_frames

TIMEOUT_S = 120.0
"""Deadline of reading a frame, seconds: long, as a machine that is only busy must not cost a trajectory its weight."""


class FramePatches:
    """Patches of frames by reference, least recently used out first once they are over `max_bytes`. Thread-safe."""

    def __init__(self, image_processor: BaseImageProcessor, max_bytes: int) -> None:
        self.patch: int = image_processor.patch_size
        self.merge: int = image_processor.merge_size
        self._processor = image_processor
        self._patches: ThreadSafeCache[FrameRef, np.ndarray] = ThreadSafeCache(
            max_bytes, lambda patches: patches.nbytes
        )
        self._grids: dict[tuple[int, int], tuple[int, int]] = {}

    def grid(self, ref: FrameRef) -> tuple[int, int]:
        """Return rows and columns of a frame's patches. Raises ValueError where the processor would resize the frame,
        so that the engine saw other pixels than these."""
        size = ref.height, ref.width
        if size not in self._grids:
            rows, columns = ref.height // self.patch, ref.width // self.patch
            unit = self.patch * self.merge
            same = self._processor.get_number_of_image_patches(*size) == rows * columns
            if ref.height % unit or ref.width % unit or not same:
                raise ValueError(
                    f"{ref.path}: a frame of {ref.width}x{ref.height} pixels would be resized by the model's "
                    f"processor; its sides must be multiples of {unit} and its area within the processor's limits"
                )
            self._grids[size] = rows, columns
        return self._grids[size]

    def load(self, refs: Iterable[FrameRef]) -> list[np.ndarray]:
        """Load the patches of each frame, [rows * columns, 3, patch, patch] uint8, in the processor's order.

        What is missing is decoded in the order of the files and times, which is the cheapest for a decoder. Raises
        VideoError for a frame that can't be read any more.
        """
        refs = list(refs)
        found = {ref: patches for ref in set(refs) if (patches := self._patches.get(ref)) is not None}
        missing = sorted(set(refs) - found.keys(), key=_place)
        for ref, pixels in zip(missing, read_frames(missing, TIMEOUT_S), strict=True):
            found[ref] = self._patches.keep(ref, self._patchify(ref, pixels))
        return [found[ref] for ref in refs]

    def black(self, ref: FrameRef) -> np.ndarray:
        """Return what `load` would of a black frame of the same size."""
        rows, columns = self.grid(ref)
        return np.zeros((rows * columns, 3, self.patch, self.patch), np.uint8)

    def load_ahead(self, refs: Iterable[FrameRef]) -> None:
        """Decode these before they are needed, in another thread. What can't be read is left for `load` to say."""
        for _, of_file in groupby(sorted(refs, key=_place), lambda ref: ref.path):
            with suppress(VideoError, ValueError):
                self.load(of_file)

    def _patchify(self, ref: FrameRef, pixels: np.ndarray) -> np.ndarray:
        rows, columns = self.grid(ref)
        m, p = self.merge, self.patch
        blocks = pixels.reshape(rows // m, m, p, columns // m, m, p, 3)
        return np.ascontiguousarray(blocks.transpose(0, 3, 1, 4, 6, 2, 5)).reshape(rows * columns, 3, p, p)


def _place(ref: FrameRef) -> tuple[str, int, int, float]:
    """Frames of a file, and of one size, in the order of their times."""
    return ref.path, ref.width, ref.height, ref.time_s or 0.0


class Normalise:
    """The processor's rescaling and normalisation, with its own order of operations."""

    def __init__(self, image_processor: BaseImageProcessor) -> None:
        scale = 1.0 / image_processor.rescale_factor
        self.mean = (torch.tensor(image_processor.image_mean) * scale).view(1, 3, 1, 1)
        self.std = (torch.tensor(image_processor.image_std) * scale).view(1, 3, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[patches, 3, patch, patch] uint8 to float32."""
        return pixels.float().sub_(self.mean.to(pixels.device)).div_(self.std.to(pixels.device))
