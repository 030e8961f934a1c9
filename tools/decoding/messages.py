"""What a process asks of its decode process, as one JSON message."""

from typing import Literal, NotRequired, TypedDict

from tools.decoding.frame import Region, Stamp


class Request(TypedDict):
    """One request. `index` and `prove` need no more than the file; `frames` needs all the rest."""

    do: Literal["index", "prove", "frames"]
    """Give its times and sizes, compare decord with PyAV on it, or give frames of it."""
    path: str
    """Absolute path of the file."""
    stamp: Stamp
    """The file as the caller knows it; a file that has changed is refused."""
    timeout_s: NotRequired[float]
    """Set when it is sent: the process ends itself soon after."""
    indices: NotRequired[list[int]]
    """Frames, by rising index."""
    keyframes: NotRequired[bool]
    """Give the last keyframe at or before each instead."""
    reader: NotRequired[str]
    """`pyav` or `decord`."""
    region: NotRequired[Region | None]
    """Cut this out of each frame."""
    width: NotRequired[int]
    """Then scale it to this width, pixels."""
    height: NotRequired[int]
