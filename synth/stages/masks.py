"""Stage 3: the target's masks, looked for once a second of its window.

Invariant: masks are at presentation times of the video inside the target's window, by rising time, at the video's own
size, and passed every gate of `synth.stages.mask_gates`.
"""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from configs.masks import MaskConfig
from synth.record import Mask, Record, Rejected
from synth.segmenter import SegmentedInstance, Segmenter
from synth.stages.mask_gates import cut_share, target_of
from tools.decoding.frame import DeadlineError
from tools.decoding.video import TICK_S, Video, open_video
from tools.marks import rle


def find_masks(record: Record, segmenter: Segmenter, config: MaskConfig) -> Record:
    """The record with the masks of its target.

    Raises:
        Rejected: the window has no frame, or no instance passes the gates.
        VideoError: the video cannot be read.
        DeadlineError: it took longer than `config.timeout_s`.
        ValueError: the record has no target, or the segmenter broke its word.
    """
    if record.target is None:
        raise ValueError(f"record {record.id}: has no target; the stage of the masks comes after the verification")
    deadline = time.monotonic() + config.timeout_s
    video = open_video(record.video, config.timeout_s)
    times = look_times(video.times, record.target.start_s, record.target.end_s, config)
    if not times:
        raise Rejected("no frame in the window")
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise DeadlineError(f"{record.video}: finding masks took longer than {config.timeout_s:g} s")
    instances = segmenter.instances(record, times, left_s)
    _check(instances, len(times), video, record)
    found = target_of(instances, config).masks
    looks = [(time_s, rle.encode(mask)) for time_s, mask in zip(times, found, strict=True) if mask is not None]
    masks = tuple(Mask(time_s, encoded, rle.box(encoded)) for time_s, encoded in looks)
    return dataclasses.replace(record, masks=masks)


def look_times(times: np.ndarray, start_s: float, end_s: float, config: MaskConfig) -> list[float]:
    """Presentation times at which a window is looked at, rising seconds: one every 1/fps from its start, spread over
    it where that would be too few or too many; none where the window has no frame.

    Args:
        times: [frames] presentation times of the video, sorted.
    """
    inside = times[(times >= start_s - TICK_S) & (times <= end_s + TICK_S)]
    if not len(inside):
        return []
    first, last = float(inside[0]), float(inside[-1])
    count = int((last - first + TICK_S) * config.fps) + 1
    wanted = first + np.arange(count) / config.fps
    if not config.min_looks <= count <= config.max_looks:
        wanted = np.linspace(first, last, min(max(count, config.min_looks), config.max_looks))
    shown = np.unique(np.searchsorted(inside, wanted + TICK_S, side="right") - 1)
    fewest = min(config.min_looks, len(inside))
    if len(shown) < fewest:
        # The frames are too unevenly spread for even looks.
        shown = np.linspace(0, len(inside) - 1, fewest).round().astype(int)
    return inside[shown].tolist()


def clearest(masks: Sequence[Mask]) -> Mask:
    """The mask at which the target is clearest: large for it, whole, and much as large as in the looks beside it; of
    two that are as clear, the one nearer to the middle of the looks.

    Raises:
        ValueError: there is no mask.
        RleError: a mask is malformed.
    """
    if not masks:
        raise ValueError("none of no masks is the clearest; the record has to pass the stage of the masks first")
    areas = np.array([max(1, rle.area(mask.rle)) for mask in masks], float)
    whole = np.array([1 - cut_share(rle.decode(mask.rle)) for mask in masks])
    beside = np.minimum(areas[:-1], areas[1:]) / np.maximum(areas[:-1], areas[1:])
    # A slip of the segmenter is large for one look only. The ends of the stretch have one neighbour.
    steady = (np.append(beside, beside[-1:]) + np.append(beside[:1], beside)) / 2 if len(masks) > 1 else 1.0
    clear = np.sqrt(areas / areas.max()) * whole**2 * steady
    off_middle = np.abs(np.arange(len(masks)) - (len(masks) - 1) / 2)
    return masks[int(np.lexsort((off_middle, -clear.round(2)))[0])]


def _check(instances: Sequence[SegmentedInstance], looks: int, video: Video, record: Record) -> None:
    for instance in instances:
        shapes = {mask.shape for mask in instance.masks if mask is not None} - {(video.height, video.width)}
        if len(instance.masks) != looks or shapes:
            raise ValueError(
                f"record {record.id}: the segmenter gave {len(instance.masks)} masks of {sorted(shapes)} for {looks} "
                f"looks at {video.width}x{video.height} pixels; it has to give one a look, at the video's size"
            )
