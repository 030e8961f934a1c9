"""The SAM 3 tracker with a tiny model of that very architecture and random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from actors.sam3.model import Sam3Error
from actors.sam3.tracker import Sam3Tracker, _box, tracker_of
from configs.episode import EpisodeConfig
from tests.films import walk
from tests.models.sam3_parts import SIDE, image_processors, tracker
from tools.decoding.frame import DeadlineError
from tools.decoding.video import open_video
from tools.marks.drawing import draw
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import call
from tools.scene import Limits, Scene


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as `save_pretrained` writes it."""
    from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel, Sam3TrackerVideoProcessor

    parts = tracker()
    parts["prompt_encoder_config"]["image_size"] = SIDE
    config = Sam3TrackerVideoConfig(**parts, memory_attention_rope_feat_sizes=[8, 8])
    folder = tmp_path_factory.mktemp("sam3")
    torch.manual_seed(0)
    Sam3TrackerVideoModel(config).save_pretrained(folder)
    images, videos = image_processors()
    Sam3TrackerVideoProcessor(images, videos, target_size=SIDE).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("walked")
    corner = walk.place(2.0)
    assert corner is not None
    marked, geometry = draw(walk.picture(2.0), "rectangle", box=(*corner, walk.SIDE, walk.SIDE))
    Image.fromarray(marked).save(folder / "mark.png")
    mark = VisualPrompt(str(folder / "mark.png"), 2.0, "rectangle", geometry)
    return Scene(walk.write(folder / "walk.mp4"), (mark,))


@pytest.mark.slow
def test_every_look_has_its_time_and_a_box_inside_the_frame(weights: str, scene: Scene) -> None:
    tracker = Sam3Tracker(weights, device="cpu")
    looks = tracker.follow(open_video(scene.video_path), scene.visual_prompts[0], [2.5, 3.0, 3.5], 60.0)
    assert [look.time_s for look in looks] == [2.5, 3.0, 3.5]
    for look in looks:
        assert 0 <= look.likeness <= 1
        assert (look.box is None) == (look.likeness <= 0.5)
        if look.box:
            x, y, w, h = look.box
            assert min(x, y) >= 0
            assert x + w <= walk.WIDTH + 1e-6
            assert y + h <= walk.HEIGHT + 1e-6
    again = tracker.follow(open_video(scene.video_path), scene.visual_prompts[0], [2.5, 3.0, 3.5], 60.0)
    assert again == looks, "one stretch leaves nothing behind for the next"


@pytest.mark.slow
def test_every_look_is_a_frame_of_its_own(weights: str, scene: Scene) -> None:
    tracker = Sam3Tracker(weights, device="cpu")
    sessions: list[Any] = []
    init = tracker._processor.init_video_session
    tracker._processor.init_video_session = lambda *a, **k: sessions.append(init(*a, **k)) or sessions[-1]  # type: ignore[func-returns-value]
    tracker.follow(open_video(scene.video_path), scene.visual_prompts[0], [2.5, 3.0, 3.5], 60.0)
    [session] = sessions
    assert list(session.output_dict_per_obj[0]["cond_frame_outputs"]) == [0], "the mark's"
    assert list(session.output_dict_per_obj[0]["non_cond_frame_outputs"]) == [1, 2, 3]
    assert not session.processed_frames


@pytest.mark.slow
def test_the_mark_s_box_is_what_the_model_is_given(weights: str, scene: Scene) -> None:
    tracker = Sam3Tracker(weights, device="cpu")
    video = open_video(scene.video_path)
    given: list[Any] = []
    add = tracker._processor.add_inputs_to_inference_session
    tracker._processor.add_inputs_to_inference_session = lambda *a, **k: (
        given.append(k["input_boxes"]) or add(*a, **k)  # type: ignore[func-returns-value]
    )
    tracker.follow(video, scene.visual_prompts[0], [2.5], 60.0)
    [[[box]]] = given
    corner = walk.place(2.0)
    assert corner is not None
    assert np.allclose(box, [*corner, *(v + walk.SIDE for v in corner)], atol=6)


@pytest.mark.slow
def test_the_tool_uses_the_tracker_of_the_config(weights: str, scene: Scene) -> None:
    config = EpisodeConfig(tools=["track_instance"], tracker=weights)
    tracker = tracker_of(config)
    assert isinstance(tracker, Sam3Tracker)
    assert tracker_of(config) is tracker
    assert tracker_of(EpisodeConfig(tools=["crop_video"], tracker=weights)) is None
    tracked = Scene(scene.video_path, scene.visual_prompts, tracker=tracker)
    [text] = call("track_instance", {"start_time": 2, "end_time": 3}, config.tools, tracked, Limits.of(config))
    assert isinstance(text, str)
    assert text.startswith("the target ")


@pytest.mark.slow
def test_a_missed_deadline_is_an_error(weights: str, scene: Scene) -> None:
    with pytest.raises(DeadlineError):
        Sam3Tracker(weights, device="cpu").follow(
            open_video(scene.video_path), scene.visual_prompts[0], [2.5] * 40, 0.05
        )


def test_a_folder_without_weights_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Sam3Error, match="holds no SAM 3 tracker"):
        Sam3Tracker(str(tmp_path))


@pytest.mark.parametrize(
    ("parts", "box"),
    [
        ([(100, 140, 60, 120)], (60, 100, 60, 40)),
        ([(100, 140, 60, 120), (5, 6, 310, 311)], (60, 100, 60, 40)),
        ([(100, 140, 60, 120), (5, 10, 300, 310), (230, 236, 2, 9)], (60, 100, 60, 40)),
        ([(100, 140, 60, 120), (100, 140, 130, 150)], (60, 100, 90, 40)),  # behind a post
        ([(7, 8, 9, 10)], (9, 7, 1, 1)),
        ([], None),
    ],
)
def test_a_box_is_around_the_thing_and_not_around_specks(
    parts: list[tuple[int, int, int, int]], box: tuple[float, ...] | None
) -> None:
    mask = np.zeros((240, 320), bool)
    for top, bottom, left, right in parts:
        mask[top:bottom, left:right] = True
    assert _box(mask, (1.0, 1.0)) == box
    assert _box(mask, (2.0, 3.0)) == (box and (box[0] * 2, box[1] * 3, box[2] * 2, box[3] * 3))
