"""Drawing a mark on a frame: the eight kinds of visual prompt (paper, section 3.2).

Invariant: a mark stands around or beside its target and hides little of it; where it would leave the frame it runs
along the edge.
"""

import math

import cv2
import numpy as np

from configs.world import PROMPT_KINDS
from tools.marks.canvas import Box, Canvas, Point, corners, rounded, rounded_points
from tools.marks.visual_prompt import Geometry


def draw(
    image: np.ndarray,
    kind: str,
    box: Box | None = None,
    mask: np.ndarray | None = None,
    point: Point | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, Geometry]:
    """A marked copy of `image` ([H, W, 3] uint8 RGB), and what was drawn.

    That is, in pixels of the image, `{"box": [x, y, w, h]}` or `{"points": [[x, y], ...]}` (an arrow: tail and tip);
    it may reach past the frame's edge, along which the mark is then drawn.

    The target is given by its box, its mask ([H, W] bool) or a point on it; the most exact that is given is used.
    `mask_contour` needs the mask; the others make do with any. `seed` varies what a hand would vary.

    Raises:
        ValueError: an unknown kind, no target, a target outside the image, or `mask_contour` without a mask.
    """
    if kind not in PROMPT_KINDS:
        raise ValueError(f"no visual prompt kind '{kind}'; the kinds are {', '.join(PROMPT_KINDS)}")
    if kind == "mask_contour" and mask is None:
        raise ValueError("mask_contour needs the target's mask")
    canvas = Canvas(image)
    box = _target_box(canvas, box, mask, point)
    rng = np.random.default_rng(seed)
    match kind:
        case "mask_contour":
            assert mask is not None
            geometry = canvas.contour(mask, box)
        case "point":
            geometry = canvas.disc(point or _inside(mask, box))
        case "arrow":
            path = _arrow(canvas, box, rng)
            geometry = canvas.line(path) | {"points": rounded_points(path[:2])}
        case "set_of_mark":
            geometry = canvas.badge(mask, box)
        case "rectangle":
            outer = canvas.around(box)
            geometry = canvas.line(corners(outer), closed=True) | {"box": rounded(outer)}
        case "ellipse":
            geometry = canvas.line(_ellipse(box, canvas.gap), closed=True) | {"box": rounded(_around(box, canvas.gap))}
        case "triangle":
            geometry = canvas.line(_triangle(canvas, box), closed=True)
        case _:
            geometry = canvas.line(_scribble(box, canvas.gap, rng))
    if "box" in geometry:
        geometry.pop("points", None)
    return canvas.pixels, geometry


def _target_box(canvas: Canvas, box: Box | None, mask: np.ndarray | None, point: Point | None) -> Box:
    if mask is not None:
        if mask.shape != (canvas.height, canvas.width) or not mask.any():
            raise ValueError(f"the mask must be [H, W] like the image and not empty, not {mask.shape}")
        x, y, width, height = map(float, cv2.boundingRect(mask.astype(np.uint8)))
        return x, y, width, height
    if box is None:
        if point is None:
            raise ValueError("give the target's box, mask or point")
        box = (point[0] - canvas.stroke, point[1] - canvas.stroke, 2 * canvas.stroke, 2 * canvas.stroke)
    x, y, width, height = (float(value) for value in box)
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(x + width, canvas.width), min(y + height, canvas.height)
    if not (left < right and top < bottom):
        raise ValueError(f"the box {box} lies outside the image of {canvas.width}x{canvas.height}")
    return left, top, right - left, bottom - top


def _inside(mask: np.ndarray | None, box: Box) -> Point:
    """The middle of the box or, of a mask, a pixel deepest inside it."""
    if mask is None:
        return box[0] + box[2] / 2, box[1] + box[3] / 2
    left, top, right, bottom = int(box[0]), int(box[1]), int(box[0] + box[2]), int(box[1] + box[3])
    depth = cv2.distanceTransform(np.pad(mask[top:bottom, left:right], 1).astype(np.uint8), cv2.DIST_C, 3)
    rows, columns = np.nonzero(depth == depth.max())
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return left + float(columns[middle]) - 0.5, top + float(rows[middle]) - 0.5


def _around(box: Box, gap: float) -> Box:
    """Bounding box of an ellipse around the box; its corners may stick out, since objects seldom fill them."""
    x, y, width, height = box
    grow_x, grow_y = 0.1 * width + gap, 0.1 * height + gap
    return x - grow_x, y - grow_y, width + 2 * grow_x, height + 2 * grow_y


def _ellipse(box: Box, gap: float, points: int = 72) -> list[Point]:
    x, y, width, height = _around(box, gap)
    angles = np.arange(points) * 2 * math.pi / points
    return [(x + width / 2 * (1 + math.cos(a)), y + height / 2 * (1 + math.sin(a))) for a in angles]


def _triangle(canvas: Canvas, box: Box) -> list[Point]:
    """The isosceles triangle around the box, pointing up or down: the one of which more is in the frame."""
    x, y, width, height = box
    gap, middle = canvas.gap, x + width / 2
    # The sides pass the corners opposite the base at this distance from the middle, and meet `rise` beyond them.
    half = width / 2 + 1.7 * gap
    rise = max(height + gap, 0.9 * half)
    base = half * (rise + height + gap) / rise
    up = [(middle - base, y + height + gap), (middle + base, y + height + gap), (middle, y - rise)]
    down = [(middle - base, y - gap), (middle + base, y - gap), (middle, y + height + rise)]

    def seen(corners: list[Point]) -> float:
        return sum(0 <= px <= canvas.width and 0 <= py <= canvas.height for px, py in corners)

    return up if seen(up) >= seen(down) else down


def _scribble(box: Box, gap: float, rng: np.random.Generator) -> list[Point]:
    """A loop drawn by an unsteady hand: a little more than once around the target, never quite on the same way."""
    x, y, width, height = _around(box, gap)
    start, turns = rng.uniform(0, 2 * math.pi), rng.uniform(1.3, 1.6)
    angles = start + np.linspace(0, 2 * math.pi * turns, 96)
    waves = sum(rng.uniform(0.02, 0.06) * np.sin(k * angles / turns + rng.uniform(0, 6.3)) for k in (3, 5, 8))
    radius = 1.05 + np.abs(waves) + np.linspace(0, 0.18, len(angles))
    return [
        (float(x + width / 2 * (1 + r * math.cos(a))), float(y + height / 2 * (1 + r * math.sin(a))))
        for a, r in zip(angles, radius, strict=True)
    ]


def _arrow(canvas: Canvas, box: Box, rng: np.random.Generator) -> list[Point]:
    """Shaft and head of an arrow whose tip is just off the target, from a side that has room for it."""
    length = max(8 * canvas.stroke, 0.16 * min(canvas.width, canvas.height))
    middle = box[0] + box[2] / 2, box[1] + box[3] / 2
    room = []
    for angle in rng.uniform(0, 2 * math.pi) + np.arange(16) * math.pi / 8:
        unit = math.cos(angle), math.sin(angle)
        reach = min(box[2] / 2 / max(abs(unit[0]), 1e-9), box[3] / 2 / max(abs(unit[1]), 1e-9)) + canvas.gap
        tail = middle[0] + (reach + length) * unit[0], middle[1] + (reach + length) * unit[1]
        out = max(-tail[0], -tail[1], tail[0] - canvas.width, tail[1] - canvas.height, -canvas.rim)
        room.append((out, unit, reach, tail))
    _, unit, reach, tail = min(room, key=lambda found: found[0])
    tip = middle[0] + reach * unit[0], middle[1] + reach * unit[1]
    head = [
        (tip[0] + 0.45 * length * math.cos(a), tip[1] + 0.45 * length * math.sin(a))
        for a in (math.atan2(unit[1], unit[0]) + turn for turn in (-0.6, 0.6))
    ]
    return [tail, tip, head[0], tip, head[1]]
