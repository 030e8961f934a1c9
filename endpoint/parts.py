"""What a question to a model is made of: text, images, video files.

Invariant: two parts have the same fingerprint only if a model is sent the same bytes for both.
"""

import base64
import hashlib
import mimetypes
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from storage.files import JsonObject


class PartError(RuntimeError):
    """A file of a question cannot be read; the message is one sentence."""


QUALITY = 90
"""JPEG quality of frames that are sent: at 90, edges and small colours keep."""
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class Image:
    """One picture."""

    data: bytes = field(repr=False)
    """A whole PNG or JPEG file."""

    def __post_init__(self) -> None:
        if self.mime is None:
            raise ValueError(f"an image for a model must be PNG or JPEG, and {self.data[:8]!r}... is neither")

    @property
    def mime(self) -> str | None:
        """`image/png` or `image/jpeg`."""
        return next((mime for magic, mime in _MAGIC.items() if self.data.startswith(magic)), None)


@dataclass(frozen=True)
class Clip:
    """A whole video file; it is read when it is sent, not before."""

    path: str


Part = str | Image | Clip
"""A text, a picture or a video."""


def jpeg(pixels: np.ndarray) -> Image:
    """A picture, [height, width, 3] uint8 RGB, for a model."""
    data = BytesIO()
    Picture.fromarray(pixels).save(data, "jpeg", quality=QUALITY)
    return Image(data.getvalue())


def fingerprint(part: Part) -> list[str]:
    """What decides a model's answer about the part, in few bytes. Raises PartError: the video file cannot be read."""
    match part:
        case str():
            return ["text", part]
        case Image():
            return ["image", hashlib.sha256(part.data).hexdigest()]
        case Clip():
            return ["video", hashlib.sha256(_read(part.path)).hexdigest()]


def wire(part: Part) -> JsonObject:
    """The part as chat completions take it; videos as vLLM does, in a `video_url`.

    Raises:
        PartError: the video file cannot be read.
    """
    match part:
        case str():
            return {"type": "text", "text": part}
        case Image():
            return {"type": "image_url", "image_url": {"url": _data_url(part.mime or "", part.data)}}
        case Clip():
            mime = mimetypes.guess_type(part.path)[0] or "video/mp4"
            return {"type": "video_url", "video_url": {"url": _data_url(mime, _read(part.path))}}


def _data_url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PartError(f"{path}: cannot be read ({error.strerror})") from None
