"""Strokes, discs and outlines that stand out of any background.

Invariant: a mark has the colour of `PALETTE` that is farthest from what lies under it, a dark or light rim along it,
and a width that survives halving the frame.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.marks.visual_prompt import Geometry

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""
Point = tuple[float, float]
"""x, y in pixels."""
Colour = tuple[int, int, int]
"""Red, green, blue."""
Window = tuple[slice, slice]
"""Rows and columns of the frame."""

PALETTE = ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (255, 0, 255), (255, 255, 255), (0, 64, 255))
"""Colours a mark may have, RGB."""
STROKE = 0.016
"""Width of a stroke without its rim, as a share of the frame's shorter side."""
MIN_STROKE_PX = 3.0
"""Thinnest stroke: with its rim it is still two pixels wide when the frame is halved."""
LABEL = "1"
"""What the badge of a single target says."""
STEPS = 12
"""Pixels up to which a mask is grown step by step; past that a distance transform is quicker."""
_SCALE = 3
_SQUARE = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))
_DIAMOND = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Canvas:
    """A copy of a frame on which strokes with a rim are drawn, smoothed, in a colour that stands out."""

    def __init__(self, image: np.ndarray) -> None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"an image must be [H, W, 3] uint8, not {image.shape} {image.dtype}")
        self.pixels = image.copy()
        self.height, self.width = image.shape[:2]
        self.stroke = max(MIN_STROKE_PX, STROKE * min(self.width, self.height))
        self.rim = max(1.0, self.stroke / 3)
        self.gap = self.stroke / 2 + self.rim + 1
        """From the target's edge to the middle of a stroke that leaves it free."""

    def line(self, points: Sequence[Point], closed: bool = False) -> Geometry:
        """A polyline; where it would leave the frame it runs along the frame's edge instead."""
        edge = self.stroke / 2 + self.rim
        path = [
            (min(max(x, edge), self.width - edge), min(max(y, edge), self.height - edge))
            for x, y in _dense([*points, *points[:1]] if closed else points)
        ]
        self._paint_path(path, self.stroke)
        return {"points": rounded_points(points)}

    def disc(self, centre: Point) -> Geometry:
        radius = 1.2 * self.stroke
        self._paint_path([centre], 2 * radius)
        return {"points": rounded_points([centre])}

    def contour(self, mask: np.ndarray, box: Box) -> Geometry:
        inner, edge = 1, 1 + round(self.rim)
        outer = edge + round(self.stroke)
        window = self._window(corners(box), outer + self.rim + 2)
        near, rim = mask[window], round(self.rim)
        core = _dilated(near, outer) - _dilated(near, edge)
        self._paint(window, core, _dilated(near, outer + rim) - _dilated(near, inner))
        return {"box": rounded(box)}

    def badge(self, mask: np.ndarray | None, box: Box) -> Geometry:
        """A numbered disc beside a corner of the target, the upper left if the frame has room, and its outline."""
        geometry = self.contour(mask, box) if mask is not None else self.line(corners(self.around(box)), closed=True)
        radius = 2.5 * self.stroke
        centre = self._beside(box, radius)
        window, colour = self._paint_path([centre], 2 * radius)
        self._blend(window, self._text(window, LABEL, centre, 1.7 * radius), _opposite(colour))
        return geometry | {"box": rounded(box), "label": LABEL, "badge": rounded_points([centre])[0]}

    def around(self, box: Box) -> Box:
        """The box with room for a stroke around it, kept where the whole stroke is in the frame."""
        edge = self.stroke / 2 + self.rim
        left, top = max(box[0] - self.gap, edge), max(box[1] - self.gap, edge)
        right = min(box[0] + box[2] + self.gap, self.width - edge)
        bottom = min(box[1] + box[3] + self.gap, self.height - edge)
        return left, top, max(1.0, right - left), max(1.0, bottom - top)

    def _beside(self, box: Box, radius: float) -> Point:
        """The place off a corner of the box that needs the least shift to stay in the frame."""
        reach, margin = radius / math.sqrt(2) + self.gap, radius + self.rim
        places = [
            (x, y) for y in (box[1] - reach, box[1] + box[3] + reach) for x in (box[0] - reach, box[0] + box[2] + reach)
        ]
        inside = [
            (min(max(x, margin), self.width - margin), min(max(y, margin), self.height - margin)) for x, y in places
        ]
        return min(zip(inside, places, strict=True), key=lambda moved: math.dist(*moved))[0]

    def _window(self, points: Sequence[Point], margin: float) -> Window:
        """The part of the frame around the points; only that is worked on."""
        x, y = np.array(points).T
        columns = slice(max(0, math.floor(x.min() - margin)), max(0, math.ceil(x.max() + margin)))
        return slice(max(0, math.floor(y.min() - margin)), max(0, math.ceil(y.max() + margin))), columns

    def _paint_path(self, path: Sequence[Point], width: float) -> tuple[Window, Colour]:
        window = self._window(path, width / 2 + self.rim + 2)
        core, rimmed = (self._strokes(window, path, w) for w in (width, width + 2 * self.rim))
        return window, self._paint(window, core, rimmed)

    def _paint(self, window: Window, core: np.ndarray, rimmed: np.ndarray) -> Colour:
        """Draw a mark of two coverages of the window, [h, w] 0 to 1; returns the colour chosen."""
        under = self.pixels[window][rimmed > 0.5].astype(np.float64)
        if not len(under):
            raise ValueError("the mark would lie outside the image")
        # The tenth percentile: how far the colour is from the most similar part of what it crosses.
        distances = [np.percentile(np.linalg.norm(under - colour, axis=1), 10) for colour in PALETTE]
        colour = PALETTE[int(np.argmax(distances))]
        self._blend(window, rimmed, _opposite(colour))
        self._blend(window, core, colour)
        return colour

    def _blend(self, window: Window, coverage: np.ndarray, colour: Colour) -> None:
        alpha = coverage[..., None]
        self.pixels[window] = np.round(self.pixels[window] * (1 - alpha) + np.array(colour) * alpha)

    def _strokes(self, window: Window, path: Sequence[Point], width: float) -> np.ndarray:
        """[h, w] coverage of a round-ended polyline."""
        layer = self._layer(window)
        pen = ImageDraw.Draw(layer)
        scaled = [((x - window[1].start) * _SCALE, (y - window[0].start) * _SCALE) for x, y in path]
        radius = width * _SCALE / 2
        if len(scaled) > 1:
            pen.line(scaled, fill=255, width=round(2 * radius))
        for x, y in scaled:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        return _coverage(layer)

    def _text(self, window: Window, text: str, centre: Point, size: float) -> np.ndarray:
        layer = self._layer(window)
        font = ImageFont.load_default(size * _SCALE)
        place = (centre[0] - window[1].start) * _SCALE, (centre[1] - window[0].start) * _SCALE
        ImageDraw.Draw(layer).text(place, text, fill=255, font=font, anchor="mm")
        return _coverage(layer)

    def _layer(self, window: Window) -> Image.Image:
        height, width = self.pixels[window].shape[:2]
        return Image.new("L", (width * _SCALE, height * _SCALE))


def _coverage(layer: Image.Image) -> np.ndarray:
    if 0 in layer.size:
        raise ValueError("the mark would lie outside the image")
    return np.asarray(layer.reduce(_SCALE), dtype=np.float64) / 255


def _opposite(colour: Colour) -> Colour:
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    return (0, 0, 0) if bright else (255, 255, 255)


def _dilated(mask: np.ndarray, pixels: int) -> np.ndarray:
    """[H, W] float 0 or 1: the mask grown by that many pixels, with round corners."""
    if pixels > STEPS:
        outside = cv2.distanceTransform((~mask.astype(bool)).astype(np.uint8), cv2.DIST_L2, 5)
        return (outside <= pixels).astype(np.float64)
    grown: np.ndarray = mask.astype(np.uint8)
    for step in range(pixels):
        # A square and a diamond by turns make an octagon, which is near enough to a disc.
        grown = cv2.dilate(grown, _SQUARE if step % 2 else _DIAMOND)
    return grown.astype(np.float64)


def _dense(path: Sequence[Point], step: float = 2.0) -> list[Point]:
    """The polyline with a point at least every `step` pixels."""
    points = list(path[:1])
    for (x0, y0), (x1, y1) in pairwise(path):
        count = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / step))
        points += [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(1, count + 1)]
    return points


def rounded(box: Box) -> list[float]:
    return [round(float(value), 1) for value in box]


def rounded_points(points: Sequence[Point]) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


def corners(box: Box) -> list[Point]:
    x, y, width, height = box
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
