"""The SAM 3 tracker behind `track_instance`: the box of the mark goes in, a mask of every frame comes out.

Frames are streamed, so memory does not go with the length of the stretch but for what the model remembers of it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch

from actors.sam3.model import MAX_PIXELS, Sam3Model
from configs.episode import EpisodeConfig
from tools.decoding.frame import DeadlineError
from tools.decoding.video import Video
from tools.decoding.waiting import Deadline
from tools.following.target import target_box
from tools.following.tracker import Sighting, Tracker
from tools.marks.canvas import Box
from tools.marks.visual_prompt import VisualPrompt

LEAST_PART = 0.05
"""Share of the largest part of a mask that another part must have to belong to the thing; a smaller one is a speck."""
TARGET = 1
"""Id of the one object that is followed."""


class Sam3Tracker(Sam3Model):
    """A `tools.following.tracker.Tracker`. Thread-safe: one stretch at a time."""

    def __init__(self, model: str, device: str | None = None) -> None:
        """Load a folder or hub id; see `Sam3Model`."""
        from transformers import Sam3TrackerVideoModel, Sam3TrackerVideoProcessor

        super().__init__(model, Sam3TrackerVideoProcessor, Sam3TrackerVideoModel, "tracker", device)

    def follow(self, video: Video, prompt: VisualPrompt, times: Sequence[float], timeout_s: float) -> list[Sighting]:
        """See `tools.following.tracker.Tracker`."""
        deadline = Deadline(timeout_s)
        [native] = video.frames_at([prompt.known_time_s], video.width * video.height, 1, timeout_s)
        box = target_box(prompt, native.pixels)
        sightings = []
        with self._session(timeout_s) as session:
            left_s = max(0.0, deadline.left_s)
            for i, (time_s, pixels) in enumerate(video.scan([prompt.known_time_s, *times], MAX_PIXELS, left_s)):
                if deadline.left_s < 0:
                    raise DeadlineError(f"{video.path}: following the target through {len(times)} looks took too long")
                scale = video.width / pixels.shape[1], video.height / pixels.shape[0]
                inputs, frame = self._inputs(pixels)
                if i == 0:
                    x, y, w, h = (value / scale[axis % 2] for axis, value in enumerate(box))
                    self._processor.add_inputs_to_inference_session(
                        session, 0, TARGET, input_boxes=[[[x, y, x + w, y + h]]], original_size=inputs.original_sizes[0]
                    )
                # Without its number each would count as the first, for the session is emptied below.
                seen = self._model(inference_session=session, frame_idx=i, frame=frame)
                # The session would keep every frame; it needs no more than what it remembers of them.
                session.processed_frames.clear()
                if i:
                    sightings.append(self._sighting(time_s, seen, inputs.original_sizes, scale))
        return sightings

    def _sighting(self, time_s: float, seen: Any, sizes: Any, scale: tuple[float, float]) -> Sighting:
        likeness = float(torch.sigmoid(seen.object_score_logits.float()).max())
        [masks] = self._processor.post_process_masks([seen.pred_masks.float()], original_sizes=sizes, binarize=True)
        box = _box(masks[0, 0].cpu().numpy(), scale) if likeness > 0.5 else None
        return Sighting(time_s, box, likeness)


def tracker_of(config: EpisodeConfig) -> Tracker | None:
    """The tracker of an episode's tools, loaded once a process; None for the one that needs no weights.

    Raises:
        Sam3Error: there are no such weights.
    """
    return _loaded(config.tracker) if config.tracker and "track_instance" in config.tools else None


@lru_cache(maxsize=1)
def _loaded(model: str) -> Sam3Tracker:
    return Sam3Tracker(model)


def _box(mask: np.ndarray, scale: tuple[float, float]) -> Box | None:
    """x, y, width, height of a mask in pixels of the video, specks left out; None if it is empty."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas >= LEAST_PART * areas.max(initial=1))
    left, top, width, height = cv2.boundingRect(np.isin(parts, kept).astype(np.uint8))
    if not width:
        return None
    return left * scale[0], top * scale[1], width * scale[0], height * scale[1]
