"""SAM 3 driven by words: a text goes in, the masks of all that it names come out, each followed through the video.

Invariants: masks are at the video's own size, one entry a look; frames are streamed, and of those that were looked at
nothing is kept but what the model remembers of them and the masks, a bit a pixel.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from transformers import Sam3VideoModel, Sam3VideoProcessor
from transformers.models.sam3_video.modeling_sam3_video import mask_iou

from actors.sam3.model import MAX_PIXELS, Sam3Model
from tools.decoding.frame import DeadlineError
from tools.decoding.video import Video
from tools.decoding.waiting import Deadline

MAX_TOKENS = 32
"""Length of the text that the model reads, with its two ends."""
MOST_OBJECTS = 32
"""Most things that are followed at a time, the surest."""
MOST_INSTANCES = 4
"""Most that are returned, the surest: whoever wants one needs to know of a second, not of all."""

Masks = tuple[np.ndarray | None, ...]
"""[height, width] bool at the video's own size for each look; None where it is not in sight."""


class TextError(ValueError):
    """A text that the model cannot read; the message is one sentence."""


class Sam3VideoSegmenter(Sam3Model):
    """Finds and follows what a text names. Thread-safe: one stretch at a time."""

    def __init__(self, model: str, device: str | None = None) -> None:
        """Load a folder or hub id; see `Sam3Model`."""
        super().__init__(model, Sam3VideoProcessor, _Model, "video model", device)
        self._model.max_num_objects = MOST_OBJECTS

    def named(self, video: Video, text: str, times: Sequence[float], timeout_s: float) -> list[tuple[Masks, float]]:
        """The masks, and the score from 0 to 1, of each instance that the text names; the surest first, at most
        `MOST_INSTANCES`, each in sight in some look.

        Args:
            times: of the looks, rising seconds.

        Raises:
            TextError: the text is longer than the model reads.
            VideoError: the video cannot be read.
            DeadlineError: it took longer than `timeout_s`.
        """
        deadline = Deadline(timeout_s)
        if (length := len(self._processor.tokenizer(text).input_ids)) > MAX_TOKENS:
            raise TextError(f"a text of {length} tokens is too long for SAM 3, which reads {MAX_TOKENS}; shorten it")
        with self._session(timeout_s) as session:
            self._processor.add_text_prompt(session, text)
            return self._named(session, video, times, deadline, timeout_s)

    def _named(
        self, session: Any, video: Video, times: Sequence[float], deadline: Deadline, timeout_s: float
    ) -> list[tuple[Masks, float]]:
        scores: dict[int, float] = {}
        packed: dict[int, dict[int, np.ndarray]] = defaultdict(dict)
        config = self._model.config
        speck = config.fill_hole_area / config.low_res_mask_size**2 * video.height * video.width
        left_s = max(0.0, deadline.left_s)
        for look, (_, pixels) in enumerate(video.scan(times, MAX_PIXELS, left_s)):
            if deadline.left_s < 0:
                raise DeadlineError(f"{video.path}: segmenting {len(times)} frames took longer than {timeout_s:g} s")
            _, frame = self._inputs(pixels)
            seen = self._model(inference_session=session, frame_idx=look, frame=frame)
            found = self._processor.postprocess_outputs(session, seen, original_sizes=[[video.height, video.width]])
            for name, score, mask in zip(found["object_ids"].tolist(), found["scores"], found["masks"], strict=True):
                clean = _clean(mask.cpu().numpy(), speck)
                if clean.any():
                    scores[name] = float(score)
                    packed[name][look] = np.packbits(clean)
            self._forget(session, look)
        surest = sorted(scores, key=lambda name: (-scores[name], name))[:MOST_INSTANCES]
        shape = video.height, video.width
        return [(_unpacked(packed[name], len(times), shape), scores[name]) for name in surest]

    def _forget(self, session: Any, look: int) -> None:
        """Drop what no later look is compared with."""
        # The model counts the frames that it has seen by their entries, so these stay, empty.
        session.processed_frames[look] = torch.empty(0)
        remembered = self._model.config.tracker_config
        past = look - max(remembered.max_object_pointers_in_encoder, remembered.num_maskmem)
        for outputs in session.output_dict_per_obj.values():
            outputs["non_cond_frame_outputs"].pop(past, None)


class _Model(Sam3VideoModel):
    """transformers drops a second detection of the same thing only where the package `kernels` is installed; left in,
    it would be taken for a look-alike."""

    def run_detection(self, inference_session: Any, vision_embeds: Any) -> dict[int, dict[str, torch.Tensor]]:
        detections = super().run_detection(inference_session=inference_session, vision_embeds=vision_embeds)
        return {prompt: self._distinct(found) for prompt, found in detections.items()}

    def _distinct(self, found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Non-maximum suppression by masks: one that overlaps a surer one is dropped."""
        order = found["scores"].argsort(descending=True, stable=True).tolist()
        masks = found["mask"] > 0
        overlaps = mask_iou(masks, masks)
        kept: list[int] = []
        for one in order:
            if not any(overlaps[one, other] > self.det_nms_thresh for other in kept):
                kept.append(one)
        return {what: values[sorted(kept)] for what, values in found.items()}


def _clean(mask: np.ndarray, speck: float) -> np.ndarray:
    """The mask without holes and pieces of up to `speck` pixels, which would make its box too large; transformers
    does this too only with `kernels`."""
    for inside in (False, True):
        _, labels, stats, _ = cv2.connectedComponentsWithStats((mask == inside).astype(np.uint8), connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] <= min(speck, mask.sum() / 2)
        small[0] = False
        mask = np.where(small[labels], not inside, mask)
    return mask


def _unpacked(looks: dict[int, np.ndarray], count: int, shape: tuple[int, int]) -> Masks:
    pixels = shape[0] * shape[1]
    return tuple(
        np.unpackbits(looks[look], count=pixels).astype(bool).reshape(shape) if look in looks else None
        for look in range(count)
    )
