"""A folder of SAM 3's weights as the segmenter of stage 3."""

import dataclasses

import pytest

from configs.world import WorldConfig
from synth.pipeline.make_stage import segmenter_of
from synth.record import Record, Rejected, Target
from tests.films import walk
from tests.models.sam3_parts import write_sam3_video
from tools.decoding.video import Video, open_video

TIMES = [1.0, 2.5, 4.0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_sam3_video(tmp_path_factory.mktemp("sam3-video"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return open_video(walk.write(tmp_path_factory.mktemp("walked") / "walk.mp4"))


@pytest.mark.slow
def test_a_folder_is_a_segmenter_of_the_synthesis(weights: str, video: Video) -> None:
    target = Target("it", "a red box", 1.0, 5.0, "What is <vp>?")
    record = Record("r", "test", video.path, "What is it?", "red", target=target)
    segmenter = segmenter_of(weights, WorldConfig())
    found = segmenter.instances(record, TIMES, 60.0)
    assert found
    assert [len(instance.masks) for instance in found] == [len(TIMES)] * len(found)
    wordy = dataclasses.replace(record, target=dataclasses.replace(target, tag="wordy " * 40))
    with pytest.raises(Rejected, match="tag is too long"):
        segmenter.instances(wordy, TIMES, 60.0)
