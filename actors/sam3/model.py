"""A SAM 3 model and its processor, in the process of the episodes, on its GPU if it has one.

Invariant: one stretch of video at a time; whoever waits for its turn waits no longer than its deadline.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tools.decoding.waiting import acquire

MAX_PIXELS = 1008 * 1008
"""Frames are fetched no larger than what the model looks at."""


class Sam3Error(RuntimeError):
    """The weights of SAM 3 cannot be used; the message is one sentence."""


class Sam3Model:
    """What the tracker and the segmenter have in common."""

    def __init__(self, model: str, processor: Any, architecture: Any, name: str, device: str | None) -> None:
        """Load a folder or hub id, in bfloat16 on a GPU and float32 on a CPU, into classes of transformers; `name` says
        what it is in words, such as `tracker`.

        Raises:
            Sam3Error: there are no such weights, or they are of another architecture.
        """
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.bfloat16 if self._device.startswith("cuda") else torch.float32
        self._name = name
        self._lock = threading.Lock()
        try:
            self._processor = processor.from_pretrained(model)
            self._model = architecture.from_pretrained(model, dtype=self._dtype).to(self._device).eval()
        except (OSError, ValueError, TypeError) as error:
            raise Sam3Error(f"{model}: holds no SAM 3 {name} ({str(error).splitlines()[0]})") from None

    @contextmanager
    def _session(self, timeout_s: float) -> Iterator[Any]:
        """The memory of one stretch of video, for as long as the block runs.

        Raises:
            BusyError: another stretch held the model for so long.
        """
        acquire(self._lock, self._name, timeout_s)
        try:
            with torch.inference_mode():
                yield self._processor.init_video_session(inference_device=self._device, dtype=self._dtype)
        finally:
            self._lock.release()

    def _inputs(self, pixels: np.ndarray) -> tuple[Any, torch.Tensor]:
        """What the processor makes of a frame ([H, W, 3] uint8), and the frame as the model takes it."""
        inputs = self._processor(images=pixels.copy(), return_tensors="pt")
        return inputs, inputs.pixel_values[0].to(self._device, self._dtype)
