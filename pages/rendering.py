"""HTML pages for people, in one palette, and the pictures that they hold.

Invariant: a page is one file that needs no other; its colours, in light and in dark, and its type are those of
`palette.css`.
"""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image


def render(template: Path, values: Mapping[str, object], filters: Mapping[str, Callable[..., object]] = {}) -> str:
    """Fill in a page's template, which takes the palette by `{% include "palette.css" %}`; values are escaped."""
    folders = [template.parent, Path(__file__).parent]
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters
    return environment.get_template(template.name).render(values)


def data_uri(pixels: np.ndarray, longest_px: int, lossless: bool = False) -> str:
    """A picture ([H, W, 3] uint8 RGB), made no longer than that on any side, as the URI of a JPEG or, lossless, PNG."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest_px, longest_px))
    buffer = io.BytesIO()
    kind = "png" if lossless else "jpeg"
    image.save(buffer, kind, optimize=lossless, quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
