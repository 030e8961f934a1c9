"""SAM 3 as the segmenter of stage 3."""

from collections.abc import Sequence

from synth.record import Record, Rejected
from synth.segmenter import SegmentedInstance
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

    def instances(self, record: Record, times: Sequence[float], timeout_s: float) -> list[SegmentedInstance]:
        """The surest few; see `Segmenter`. Raises `Rejected` for a tag that is longer than the model reads."""
        from actors.sam3.text_segmenter import TextError

        assert record.target is not None
        video = open_video(record.video, timeout_s)
        try:
            found = self._model.named(video, record.target.tag, times, timeout_s)
        except TextError:
            raise Rejected("the tag is too long") from None
        return [SegmentedInstance(masks, score) for masks, score in found]
