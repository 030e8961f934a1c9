"""Where the marked target is in its frame: a box from what was drawn, and a mask from the picture itself.

The geometry of a mark is known where this system drew it. Where it is not, as in other people's data, the mark is what
differs between the marked image and the video's own frame.
"""

import cv2
import numpy as np

from tools.decoding.image import image_size, load_image, resize
from tools.errors import ToolError
from tools.marks.canvas import Box
from tools.marks.visual_prompt import Geometry, VisualPrompt

POINT_SIDE = 0.12
"""Side of the box that is assumed around a point, as a share of the frame's shorter side."""
INK_DIFFERENCE = 48
"""Smallest difference of a channel between the marked image and the frame that counts as drawn."""
ROUGH = ("point", "arrow")
"""Kinds that tell where the target is, not how large."""
BEYOND_TIP = 0.06
"""How far beyond an arrow's tip its target's middle is assumed, as a share of the frame's shorter side."""
GRABCUT_ROUNDS = 3
SHRUNK = {"ellipse": 0.84, "scribble": 0.78, "triangle": 0.5}
"""Side of the target as a share of the drawn shape's, for the kinds that stand off their target."""


def target_box(prompt: VisualPrompt, frame: np.ndarray) -> Box:
    """The target's box (x, y, width, height) in pixels of `frame`, [H, W, 3] uint8, the video's own frame.

    Raises:
        ToolError: nothing is drawn on the marked image, or what is drawn lies outside of it.
        VideoError: the image cannot be read.
    """
    height, width = frame.shape[:2]
    if prompt.geometry:
        image_width, image_height = image_size(prompt.image)
        x, y, w, h = _from_geometry(prompt.kind, prompt.geometry, min(image_width, image_height))
        sx, sy = width / image_width, height / image_height
        box = x * sx, y * sy, w * sx, h * sy
    else:
        box = _from_ink(resize(load_image(prompt.image), width, height), frame, prompt.kind)
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(box[0] + box[2], float(width)), min(box[1] + box[3], float(height))
    if right - left < 1 or bottom - top < 1:
        raise ToolError("the mark lies outside of the marked frame")
    return left, top, right - left, bottom - top


def target_mask(frame: np.ndarray, box: Box, rough: bool = False) -> np.ndarray:
    """[H, W] bool: what stands out from its surroundings in the box (GrabCut, Rother et al. 2004); the inner part of
    the box where nothing does. A rough box tells where the target is, not how large."""
    height, width = frame.shape[:2]
    x, y, w, h = box
    # Only the surroundings matter, and GrabCut's time goes with the area.
    margin = (2 if rough else 1) * max(w, h)
    left, top = max(0, int(x - margin)), max(0, int(y - margin))
    right, bottom = min(width, int(x + w + margin) + 1), min(height, int(y + h + margin) + 1)
    part = np.ascontiguousarray(frame[top:bottom, left:right])
    here = x - left, y - top, w, h
    labels = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
    if rough:
        labels[_block(part.shape, here, 3.0)] = cv2.GC_PR_BGD
    labels[_block(part.shape, here, 1.0)] = cv2.GC_PR_FGD
    found = _block(part.shape, here, 0.7)
    if (labels == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(part, labels, (0, 0, 0, 0), *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        cut = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        if rough:
            cut = _piece(cut, here)
        if cut.sum() >= 0.15 * w * h:
            found = cut
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = found
    return mask


def _piece(mask: np.ndarray, box: Box) -> np.ndarray:
    """The connected piece of the mask that fills most of the box."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    inside = pieces[_block(mask.shape, box, 1.0)]
    inside = inside[inside > 0]
    return pieces == np.bincount(inside).argmax() if inside.size else np.zeros_like(mask)


def _block(shape: tuple[int, ...], box: Box, share: float) -> np.ndarray:
    """[H, W] bool: the middle of the box, `share` of its sides; at least one pixel."""
    x, y, w, h = box
    left, top = x + w * (1 - share) / 2, y + h * (1 - share) / 2
    block = np.zeros(shape[:2], bool)
    bottom, right = max(int(top) + 1, round(top + h * share)), max(int(left) + 1, round(left + w * share))
    block[max(0, int(top)) : bottom, max(0, int(left)) : right] = True
    return block


def _from_geometry(kind: str, geometry: Geometry, side: float) -> Box:
    points = np.asarray(geometry.get("points") or [], dtype=float).reshape(-1, 2)
    if kind == "arrow" and len(points) >= 2:
        tail, tip = points[0], points[1]
        way = (tip - tail) / max(1e-9, float(np.linalg.norm(tip - tail)))
        return _around(tip + way * BEYOND_TIP * side, POINT_SIDE * side)
    if kind == "triangle" and len(points) == 3:
        return _in_triangle(points)
    if len(points) == 1:
        return _around(points[0], POINT_SIDE * side)
    if len(points):
        low, high = points.min(0), points.max(0)
        return _shrunk((*low, *(high - low)), kind)
    x, y, w, h = (float(value) for value in geometry["box"])
    return _shrunk((x, y, w, h), kind)


def _in_triangle(points: np.ndarray) -> Box:
    """The target stands on the triangle's base and reaches about half of its height."""
    apex = points[np.argmax(np.abs(points[:, 1] - np.median(points[:, 1])))]
    base_y = float(np.median(points[:, 1]))
    height, width = abs(float(apex[1]) - base_y), float(np.ptp(points[:, 0]))
    top = min(base_y, (base_y + float(apex[1])) / 2)
    return float(apex[0]) - width / 5, top, width * 2 / 5, height / 2


def _from_ink(marked: np.ndarray, frame: np.ndarray, kind: str) -> Box:
    drawn = (np.abs(marked.astype(np.int16) - frame).max(2) > INK_DIFFERENCE).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(drawn, np.ones((3, 3), np.uint8)))
    if count < 2:
        raise ToolError("nothing is marked on the marked frame")
    x, y, w, h, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
    return _shrunk((float(x), float(y), float(w), float(h)), kind)


def _shrunk(box: Box, kind: str) -> Box:
    x, y, w, h = box
    share = SHRUNK.get(kind, 1.0)
    return x + w * (1 - share) / 2, y + h * (1 - share) / 2, w * share, h * share


def _around(middle: np.ndarray, side: float) -> Box:
    return float(middle[0]) - side / 2, float(middle[1]) - side / 2, side, side
