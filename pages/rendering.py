"""HTML pages for people, in one palette.

Invariant: a page is one file that needs no other; its colours, in light and in dark, are those of `palette.css`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader


def render(template: Path, values: Mapping[str, object], filters: Mapping[str, Callable[..., object]] = {}) -> str:
    """Fill in a page's template, which takes the palette by `{% include "palette.css" %}`; values are escaped.

    Args:
        values: What the template names.
        filters: Functions that it applies to them.
    """
    folders = [template.parent, Path(__file__).parent]
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters
    return environment.get_template(template.name).render(values)
