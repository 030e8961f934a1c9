"""A visual prompt that exists is well formed."""

from typing import Any

import pytest

from tools.marks.visual_prompt import VisualPrompt, VisualPromptError


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"kind": "star"}, "no visual prompt kind 'star'; the kinds are rectangle, "),
        ({"time_s": float("nan")}, "time_s must be a number of seconds"),
        ({"time_s": True}, "time_s must be a number of seconds"),
        ({"geometry": {}}, "geometry must hold"),
        ({"geometry": {"box": [1, 2, 3]}}, "geometry must hold"),
        ({"geometry": {"points": []}}, "geometry must hold"),
        ({"geometry": {"points": [[1, "2"]]}}, "geometry must hold"),
    ],
)
def test_what_is_wrong_with_a_visual_prompt_is_said(changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(VisualPromptError, match=f"^mark.png: {cause}"):
        VisualPrompt(**{"image": "mark.png", "time_s": 1.0, "kind": "point", **changes})


def test_kind_and_geometry_may_be_unknown() -> None:
    assert VisualPrompt("mark.png", 1.0) == VisualPrompt("mark.png", 1.0, "", None)
