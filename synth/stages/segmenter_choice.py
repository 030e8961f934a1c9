"""Which segmenter a name in a configuration stands for."""

from collections.abc import Sequence

from configs.world import WorldConfig
from synth.record import Record, Rejected
from synth.segmenter import Instance, Segmenter
from synth.world.masks import WorldSegmenter
from tools.decoding.video import open_video


class Sam3Segmenter:
    """SAM 3, driven by the tag, on the GPU if there is one."""

    def __init__(self, model: str) -> None:
        """Loads a folder or hub id.

        Raises:
            TrackerError: there are no such weights, or they are of another architecture.
        """
        from actors.sam3.text_segmenter import Sam3VideoSegmenter

        self._model = Sam3VideoSegmenter(model)

    def instances(self, record: Record, times: Sequence[float], timeout_s: float) -> list[Instance]:
        """The surest few; see `synth.segmenter.Segmenter`.

        Raises:
            Rejected: the tag is longer than the model reads.
            VideoError: the video cannot be read.
            DeadlineError: it took longer than `timeout_s`.
            ValueError: the record has no target yet.
        """
        from actors.sam3.text_segmenter import TextError

        if record.target is None:
            raise ValueError(f"record {record.id}: has no target; the stage of the masks comes after the verification")
        video = open_video(record.video, timeout_s)
        try:
            found = self._model.named(video, record.target.tag, times, timeout_s)
        except TextError:
            raise Rejected("the tag is too long") from None
        return [Instance(masks, score) for masks, score in found]


def segmenter_of(name: str, world: WorldConfig) -> Segmenter:
    """The segmenter of a name: `world` (the procedural world's own truth), `motion` (a fixed camera's footage, without
    weights), or the folder or hub id of a SAM 3 video model.

    Raises:
        ValueError: no name.
        TrackerError: SAM 3 cannot be loaded from there.
    """
    if name == "world":
        return WorldSegmenter(world)
    if name == "motion":
        from synth.motion.segmenter import MotionSegmenter

        return MotionSegmenter()
    if not name.strip():
        raise ValueError("no segmenter is named; choose 'world', 'motion', or a folder or hub id of SAM 3")
    return Sam3Segmenter(name)
