"""What makes masks good enough to be marked, judged from the masks alone.

Invariant: what passes is one instance that nothing else in the window could be taken for, seen whole enough, large
enough and long enough, and the same thing from look to look. Every limit is a field of `configs.masks.MaskConfig`.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from configs.masks import MaskConfig
from synth.record import Rejected
from synth.segmenter import SegmentedInstance


def target_of(instances: Sequence[SegmentedInstance], config: MaskConfig) -> SegmentedInstance:
    """The one instance that is the target; `Rejected` is raised for none, several, or masks that aren't good enough."""
    seen = [instance for instance in instances if any(mask is not None for mask in instance.masks)]
    seen.sort(key=lambda instance: -instance.score)
    if not seen or seen[0].score < config.min_score:
        raise Rejected("no instance fits the tag")
    if len(seen) > 1 and seen[1].score >= seen[0].score - config.margin:
        raise Rejected("several instances fit the tag")
    _check_sight(seen[0].masks, config)
    _check_steadiness(seen[0].masks, config)
    return seen[0]


def _check_sight(masks: Sequence[np.ndarray | None], config: MaskConfig) -> None:
    found = [mask for mask in masks if mask is not None]
    if len(found) < config.min_in_sight * len(masks):
        raise Rejected("in sight in too few looks")
    area = float(np.median([mask.mean() for mask in found]))
    if area < config.min_area:
        raise Rejected("too small")
    if area > config.max_area:
        raise Rejected("too large")
    if np.median([cut_share(mask) for mask in found]) > config.max_cut:
        raise Rejected("cut off by the border")


def _check_steadiness(masks: Sequence[np.ndarray | None], config: MaskConfig) -> None:
    for before, after in pairwise(masks):
        if before is None or after is None:
            continue
        if np.linalg.norm(_centroid(after) - _centroid(before)) > config.max_jump * np.hypot(*after.shape):
            raise Rejected("unsteady: jumps from look to look")
        if cut_share(before) or cut_share(after):
            # What enters or leaves the picture changes its visible area and shape.
            continue
        areas = sorted((int(before.sum()), int(after.sum())))
        if areas[1] > config.max_growth * areas[0]:
            raise Rejected("unsteady: the area changes from look to look")
        if _overlap(before, after) < config.min_overlap:
            raise Rejected("unsteady: the shape changes from look to look")


def cut_share(mask: np.ndarray) -> float:
    """Share of the outline of a [H, W] bool mask that lies on the border of the frame, 0 to 1; 0 if it is empty."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outline = mask & (inside == 0)
    on_border = outline.sum() - outline[1:-1, 1:-1].sum()
    return float(on_border / max(1, outline.sum()))


def _centroid(mask: np.ndarray) -> np.ndarray:
    """Row and column of the middle, pixels."""
    rows, columns = mask.sum(1), mask.sum(0)
    weights = (np.arange(len(rows)) @ rows, np.arange(len(columns)) @ columns)
    return np.array(weights, float) / mask.sum()


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two masks laid on each other by their centroids, so that motion does not count."""
    places = [np.argwhere(mask) - np.rint(_centroid(mask)).astype(int) for mask in (first, second)]
    low = np.minimum(places[0].min(0), places[1].min(0))
    high = np.maximum(places[0].max(0), places[1].max(0))
    canvas = np.zeros((2, *(high - low + 1)), bool)
    for layer, place in zip(canvas, places, strict=True):
        layer[tuple((place - low).T)] = True
    return float((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum())
