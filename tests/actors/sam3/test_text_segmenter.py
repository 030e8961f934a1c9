"""SAM 3 driven by words, with a tiny model of that very architecture and random weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actors.sam3.model import Sam3Error
from actors.sam3.text_segmenter import MAX_TOKENS, MOST_INSTANCES, Sam3VideoSegmenter, TextError, _clean
from tests.films import walk
from tests.models.sam3_parts import REMEMBERED, write_sam3_video
from tools.decoding.frame import DeadlineError
from tools.decoding.video import Video, open_video

TIMES = [1.0, 2.5, 4.0]
LOOKS = [0.5 * i for i in range(7)]
"""More than are remembered."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost such a small model more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_sam3_video(tmp_path_factory.mktemp("sam3-video"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return open_video(walk.write(tmp_path_factory.mktemp("walked") / "walk.mp4"))


@pytest.fixture(scope="module")
def segmenter(weights: Any) -> Sam3VideoSegmenter:
    return Sam3VideoSegmenter(weights, device="cpu")


@pytest.fixture
def sessions(segmenter: Sam3VideoSegmenter, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sessions of the segmenter from now on."""
    made: list[Any] = []
    init = segmenter._processor.init_video_session
    monkeypatch.setattr(segmenter._processor, "init_video_session", lambda **k: made.append(init(**k)) or made[-1])  # type: ignore[func-returns-value]
    return made


def same(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(one, other) if one is not None else other is None
        for one, other in zip(first, second, strict=True)
    )


@pytest.mark.slow
def test_every_look_has_an_entry_at_the_video_s_size(segmenter: Sam3VideoSegmenter, video: Video) -> None:
    found = segmenter.named(video, "a red box", TIMES, 60.0)
    assert found
    for masks, score in found:
        assert 0 <= score <= 1
        assert len(masks) == len(TIMES)
        seen = [mask for mask in masks if mask is not None]
        assert seen
        for mask in seen:
            assert mask.dtype == bool
            assert mask.shape == (walk.HEIGHT, walk.WIDTH)
            assert mask.any()
    again = segmenter.named(video, "a red box", TIMES, 60.0)
    assert [score for _, score in again] == [score for _, score in found]
    assert all(same(a, b) for (a, _), (b, _) in zip(found, again, strict=True)), "nothing is left behind for the next"


@pytest.mark.slow
def test_a_mask_of_nothing_but_specks_is_out_of_sight(
    segmenter: Sam3VideoSegmenter, video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter._model.config, "fill_hole_area", 32 * 32)
    monkeypatch.setattr(segmenter._model, "det_nms_thresh", 1.0)
    for masks, _ in segmenter.named(video, "a red box", TIMES, 60.0):
        seen = [mask for mask in masks if mask is not None]
        assert seen
        assert all(mask.any() for mask in seen)


@pytest.mark.slow
def test_one_thing_is_one_instance_and_the_surest_come_first(
    segmenter: Sam3VideoSegmenter, video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = segmenter.named(video, "a red box", TIMES[:1], 60.0)
    monkeypatch.setattr(segmenter._model, "det_nms_thresh", 1.0)
    all_of_it = segmenter.named(video, "a red box", TIMES[:1], 60.0)
    assert len(alone) < len(all_of_it) == MOST_INSTANCES
    scores = [score for _, score in all_of_it]
    assert scores == sorted(scores, reverse=True)
    assert alone[0][1] == scores[0]


@pytest.mark.slow
def test_the_model_is_given_the_text_and_the_frames_of_the_times(
    segmenter: Sam3VideoSegmenter, video: Video, sessions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    images = segmenter._processor.image_processor
    monkeypatch.setattr(
        segmenter._processor,
        "image_processor",
        lambda pixels, **k: shown.append(pixels) or images(pixels, **k),  # type: ignore[func-returns-value]
    )
    segmenter.named(video, "a red box", TIMES, 60.0)
    assert sessions[0].prompts == {0: "a red box"}
    assert len(shown) == len(TIMES)
    for t, pixels in zip(TIMES, shown, strict=True):
        assert np.abs(pixels.astype(int) - walk.picture(t)).mean() < 6


@pytest.mark.slow
def test_no_more_is_kept_than_is_remembered(segmenter: Sam3VideoSegmenter, video: Video, sessions: Any) -> None:
    segmenter.named(video, "a red box", LOOKS, 60.0)
    [session] = sessions
    assert session.num_frames == len(LOOKS)
    assert sum(frame.numel() for frame in session.processed_frames.values()) == 0
    kept = [list(outputs["non_cond_frame_outputs"]) for outputs in session.output_dict_per_obj.values()]
    assert kept
    assert max(map(len, kept)) == REMEMBERED
    assert max(max(looks) for looks in kept if looks) == len(LOOKS) - 1


@pytest.mark.slow
def test_what_is_forgotten_changes_nothing(
    segmenter: Sam3VideoSegmenter, video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = segmenter.named(video, "a red box", LOOKS, 60.0)
    monkeypatch.setattr(segmenter, "_forget", lambda session, look: None)
    whole = segmenter.named(video, "a red box", LOOKS, 60.0)
    assert [score for _, score in found] == [score for _, score in whole]
    assert all(same(a, b) for (a, _), (b, _) in zip(found, whole, strict=True))


@pytest.mark.slow
def test_a_missed_deadline_is_an_error_and_leaves_the_segmenter_free(
    segmenter: Sam3VideoSegmenter, video: Video
) -> None:
    with pytest.raises(DeadlineError, match="took longer than"):
        segmenter.named(video, "a red box", [0.25 * i for i in range(40)], 0.05)
    assert segmenter.named(video, "a red box", TIMES[:1], 60.0)
    with segmenter._lock, pytest.raises(DeadlineError, match="was busy"):
        segmenter.named(video, "a red box", TIMES[:1], 0.05)


@pytest.mark.slow
def test_a_text_of_as_many_tokens_as_are_read_passes(segmenter: Sam3VideoSegmenter, video: Video) -> None:
    longest = "a" * (MAX_TOKENS - 2)
    assert segmenter.named(video, longest, TIMES[:1], 60.0)
    with pytest.raises(TextError, match="33 tokens"):
        segmenter.named(video, longest + "a", TIMES[:1], 60.0)


def test_a_folder_without_weights_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Sam3Error, match="holds no SAM 3 video model"):
        Sam3VideoSegmenter(str(tmp_path))


def test_specks_and_pinholes_are_no_part_of_a_mask() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10:30] = True
    dirty = mask.copy()
    dirty[2, 50] = dirty[38, 3] = True
    dirty[20, 20:22] = False
    assert np.array_equal(_clean(dirty, 2), mask)
    dirty[20, 20:23] = False
    assert not _clean(dirty, 2)[20, 20]


def test_a_thing_as_small_as_a_speck_stays() -> None:
    mask = np.zeros((40, 60), bool)
    mask[5, 5:8] = True
    assert np.array_equal(_clean(mask, 10), mask)
