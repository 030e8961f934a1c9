"""What goes to a policy engine and what comes back, besides the turn itself."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from env.transcript import Media
from tools.decoding.frame import FrameRef
from tools.decoding.frame_folder import stamp_of

TransferStep = Literal["join", "start", "receive", "finish"]
"""A step of vLLM's own weight transfer."""


@dataclass(frozen=True)
class GenerationRequest:
    """One turn to sample."""

    ids: np.ndarray
    """[T] int32, expanded: every frame stands as all its placeholder tokens."""
    media: tuple[Media, ...]
    """Spans of the frames in `ids`, in order."""
    frames: tuple[np.ndarray | None, ...]
    """Pixels of each frame, [height, width, 3] uint8 RGB; None where the engine has seen the frame before."""
    frame_ids: tuple[str, ...]
    """`frame_id` of each frame: what is seen again under the same id is not processed again."""
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    """Seed of this turn's sampling; None draws from the engine's own stream."""
    min_version: int = 0
    """Oldest policy version that may answer. An engine that holds an older one refuses: it was restarted and has yet
    to be brought to the present weights."""


@dataclass(frozen=True)
class EngineInfo:
    """A ready engine."""

    version: int
    """Policy version that it holds."""
    max_model_len: int
    model_dir: str
    start_seconds: float
    life: str = ""
    """Another one each time that the engine's process starts."""
    devices: tuple[str, ...] = ()
    """UUIDs of its GPUs; empty on the CPU."""


@dataclass(frozen=True)
class WeightReport:
    """A finished weight load, or step of a weight transfer."""

    version: int
    seconds: float
    checked: int = 0
    """Parameters whose checksums were found to be those that the learner sent."""


def frame_id(ref: FrameRef) -> str:
    """A name of the frame's pixels: the same frame of an unchanged file has the same name in every process.

    Raises:
        OSError: the file is gone.
    """
    size, modified = stamp_of(ref.path)
    key = f"{ref.path}|{size}|{modified}|{ref.time_s!r}|{ref.width}x{ref.height}|{ref.region}"
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
