"""The pages for people: one palette, nothing left to load."""

import re
from pathlib import Path
from typing import Any

import pytest

from pages.rendering import render

ROOT = Path(__file__).parents[2]
TEMPLATES = [*ROOT.glob("actors/**/*.html"), *ROOT.glob("synth/**/*.html"), *ROOT.glob("evals/**/*.html")]
PALETTE = (ROOT / "pages" / "palette.css").read_text()


def test_values_are_escaped_and_filters_applied(tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text('<style>{% include "palette.css" %}</style>{{ name | double }}')
    page = render(template, {"name": "<b>"}, {"double": lambda text: 2 * text})
    assert page.endswith("</style>&lt;b&gt;&lt;b&gt;")
    assert PALETTE.strip() in page


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_page_has_its_colours_from_the_palette(template: Any) -> None:
    text = template.read_text()
    parts = "".join(path.read_text() for path in [*template.parent.glob("*.html"), *template.parent.glob("*.css")])
    whole = "<!doctype html>" in text.lower()  # else it is a part of one
    assert ('{% include "palette.css" %}' in text) == whole
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    defined = set(re.findall(r"(--[\w-]+):", PALETTE + parts))
    assert used <= defined
    assert not {name for name in re.findall(r"(--[\w-]+):", PALETTE) if re.search(rf"{name}: *#", text)}
