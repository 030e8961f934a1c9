import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from configs.world import PROMPT_KINDS
from tools.marks.drawing import draw

SIZE = 192
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def background(name: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    flat = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "red": (255, 0, 0)}
    flat |= {"green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "cyan": (0, 255, 255)}
    if name in flat:
        return np.full((SIZE, SIZE, 3), flat[name], np.uint8)
    if name == "noise":
        return rng.integers(0, 256, (SIZE // 8, SIZE // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    ramp = np.linspace(0, 255, SIZE).astype(np.uint8)
    return np.stack([np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], (1, SIZE)), np.tile(ramp[::-1], (SIZE, 1))], -1)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    return (COLUMNS - x) ** 2 + (ROWS - y) ** 2 <= radius**2


def scene(name: str, mask: np.ndarray) -> np.ndarray:
    image = background(name)
    image[mask] = (60, 110, 190)
    return image


def halved(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((SIZE // 2, SIZE // 2), Image.Resampling.BICUBIC)).astype(int)


@pytest.mark.parametrize("place", [(96, 100), (14, 12), (184, 96)])
@pytest.mark.parametrize(
    "ground", ["white", "black", "grey", "red", "green", "blue", "yellow", "cyan", "noise", "gradient"]
)
@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_a_mark_stands_out_and_leaves_its_target_alone(kind: str, ground: str, place: tuple[int, int]) -> None:
    mask = disc(*place, 15)
    image = scene(ground, mask)
    before = image.copy()
    marked, _ = draw(image, kind, mask=mask, seed=1)
    changed = (marked != image).any(-1)
    assert np.array_equal(image, before)
    assert marked.dtype == np.uint8
    # Visible once the frame is halved: enough pixels that differ a lot from what was there.
    difference = np.abs(halved(marked) - halved(image)).max(-1)
    assert (difference > 90).sum() >= (8 if kind == "point" else 25)
    # On the target or around it, and nowhere else.
    reach = np.hypot(COLUMNS - place[0], ROWS - place[1])[changed]
    assert reach.min() < 15 + 8
    assert reach.max() < 15 * 4.2
    # A target in a corner is crossed where the mark is kept in the frame.
    assert changed[mask].mean() <= (0.2 if place == (96, 100) or kind in ("point", "arrow", "mask_contour") else 0.45)


@pytest.mark.parametrize("kind", sorted(set(PROMPT_KINDS) - {"mask_contour", "point"}))
def test_a_target_in_the_open_is_not_touched(kind: str) -> None:
    mask = disc(96, 100, 15)
    image = scene("noise", mask)
    marked, _ = draw(image, kind, mask=mask)
    assert not (marked != image).any(-1)[mask].any()


@settings(max_examples=60)
@given(
    kind=st.sampled_from([kind for kind in PROMPT_KINDS if kind != "mask_contour"]),
    size=st.tuples(st.integers(40, 220), st.integers(40, 220)),
    box=st.tuples(st.floats(-20, 200), st.floats(-20, 200), st.floats(1, 120), st.floats(1, 120)),
    seed=st.integers(0, 2**31),
)
def test_any_box_gives_a_mark_or_a_clear_refusal(
    kind: str, size: tuple[int, int], box: tuple[float, float, float, float], seed: int
) -> None:
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    if box[0] >= size[0] or box[1] >= size[1] or box[0] + box[2] <= 0 or box[1] + box[3] <= 0:
        with pytest.raises(ValueError, match="outside the image"):
            draw(image, kind, box=box, seed=seed)
        return
    marked, geometry = draw(image, kind, box=box, seed=seed)
    assert marked.shape == image.shape
    assert (marked != image).any(-1).sum() >= 20
    assert json.loads(json.dumps(geometry)) == geometry


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_geometry_tells_where_the_mark_is(kind: str) -> None:
    mask = disc(96, 100, 15)
    _, geometry = draw(scene("noise", mask), kind, mask=mask)
    if "box" in geometry:
        x, y, width, height = geometry["box"]
        assert x <= 82
        assert y <= 86
        assert x + width >= 110
        assert y + height >= 114
    else:
        points = np.array(geometry["points"])
        assert points.shape[1] == 2
        centre = {"arrow": points[-1], "triangle": points.mean(0)}.get(kind, points.mean(0))
        assert np.hypot(*(centre - (96, 100))) < 30


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    mask = disc(96, 100, 15)
    image = scene("noise", mask)
    for kind in ("scribble", "arrow"):
        first, again, other = (draw(image, kind, mask=mask, seed=seed)[0] for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_a_contour_follows_the_shape() -> None:
    mask = disc(70, 90, 14) | disc(110, 90, 14) | ((abs(ROWS - 90) < 3) & (abs(COLUMNS - 90) < 20))
    marked, _ = draw(scene("grey", mask), "mask_contour", mask=mask)
    changed = (marked != scene("grey", mask)).any(-1)
    # Into the waist between the two discs, where an ellipse or a box would not go.
    assert changed[82:86, 88:92].any()
    assert not changed[mask].any()


def test_a_point_lies_on_its_target() -> None:
    mask = disc(96, 100, 25) & ~disc(96, 100, 15)
    _, geometry = draw(scene("grey", mask), "point", mask=mask)
    ((x, y),) = geometry["points"]
    assert mask[round(y), round(x)]
    assert draw(scene("grey", mask), "point", point=(40.0, 50.0))[1] == {"points": [[40.0, 50.0]]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "halo", "box": (1, 1, 5, 5)}, "the kinds are rectangle"),
        ({"kind": "ellipse"}, "give the target's box, mask or point"),
        ({"kind": "mask_contour", "box": (1, 1, 5, 5)}, "needs the target's mask"),
        ({"kind": "rectangle", "box": (500, 1, 5, 5)}, "outside the image"),
        ({"kind": "point", "mask": np.zeros((SIZE, SIZE), bool)}, "not empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(background("grey"), **arguments)


@pytest.mark.parametrize("place", [(40, 40), (150, 100), (14, 96), (180, 180)])
def test_a_number_stands_whole_in_the_frame(place: tuple[int, int]) -> None:
    image = background("noise")
    marked, geometry = draw(image, "set_of_mark", mask=disc(*place, 12))
    assert geometry["label"] == "1"
    x, y = (round(value) for value in geometry["badge"])
    assert min(x, y, SIZE - x, SIZE - y) > 2 * 3.0
    assert (marked != image).any(-1)[y - 4 : y + 4, x - 4 : x + 4].mean() > 0.9
    assert json.loads(json.dumps(geometry)) == geometry
