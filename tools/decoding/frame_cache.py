"""Frames that were decoded and resized lately, so that the G rollouts of a task decode a stretch once."""

import threading
from collections import OrderedDict

import numpy as np

from tools.decoding.frame import FrameRef

Key = tuple[FrameRef, tuple[int, int]]
"""A reference and the stamp (size, modification time) of its file."""


class FrameCache:
    """Least recently used out first, once the pixels are over `max_bytes`. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> np.ndarray | None:
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def put(self, key: Key, pixels: np.ndarray) -> None:
        with self._lock:
            if key in self._frames:
                return
            self._frames[key] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._frames.popitem(last=False)[1].nbytes
