"""A video that is a folder of pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.films import movies
from tools.decoding.frame_folder import is_frame_folder
from tools.decoding.video import VideoError, open_video, read_frame
from tools.registry import call
from tools.scene import Limits, Scene

BIG = 10**7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames, whose names sort otherwise by letters than by numbers."""
    made = tmp_path / "clip"
    made.mkdir()
    for i in range(12):
        Image.fromarray(movies.picture(i, 192, 144)).save(made / f"frame_{i + 1}.{'png' if i % 2 else 'JPG'}", "png")
    (made / "annotations.json").write_text("{}")
    (made / "._frame_1.JPG").write_bytes(b"of macOS")
    (made / "\u00b2.json").write_text("{}")
    return made


@pytest.mark.parametrize(("suffix", "rate"), [("", 1.0), ("#fps=6", 6.0), ("#fps=12.5", 12.5), ("#fps=0", None)])
def test_its_frames_are_its_pictures_in_order_at_the_stated_rate(folder: Path, suffix: str, rate: float | None) -> None:
    if rate is None:
        with pytest.raises(VideoError, match="no such file"):
            open_video(f"{folder}{suffix}")
        return
    video = open_video(f"{folder}{suffix}")
    assert video.times.tolist() == pytest.approx([i / rate for i in range(12)])
    assert video.duration_s == pytest.approx(12 / rate)
    assert f"{rate:g} frames a second" in repr(video)
    shown = video.frames_at([11.5 / rate, 0.0, 4 / rate], BIG, 1)
    assert [movies.number(frame.pixels) for frame in shown] == [11, 0, 4]
    assert all(np.array_equal(read_frame(frame.ref), frame.pixels) for frame in shown)


def test_the_tools_look_at_it_as_at_any_film(folder: Path) -> None:
    limits = Limits(BIG, 2.0, 8, 4, 10.0, 40, 16, 30.0)
    scene = Scene(f"{folder}#fps=4", (), root=str(folder.parent))
    text, *_ = call("crop_video", {"start_time": 0.5, "end_time": 2}, ["crop_video"], scene, limits)
    assert text == "frames from 0.5 s to 2.0 s: "
    *_, part = call("zoom_region", {"time": 1, "box": [0, 0, 500, 500]}, ["zoom_region"], scene, limits)
    assert not isinstance(part, str)
    assert part.pixels.shape == (80, 96, 3)


def test_pictures_of_other_sizes_are_shown_at_the_first_one_s(folder: Path) -> None:
    Image.fromarray(movies.picture(5, 96, 72)).save(folder / "frame_6.png")
    [frame] = open_video(folder).frames_at([5.0], BIG, 1)
    assert frame.pixels.shape == (144, 192, 3)
    assert movies.number(frame.pixels) == 5


def test_a_folder_that_changes_is_another_film(folder: Path) -> None:
    before = open_video(folder)
    Image.fromarray(movies.picture(40, 192, 144)).save(folder / "frame_13.png")
    assert len(open_video(folder).times) == len(before.times) + 1
    with pytest.raises(VideoError, match="was changed while it was open"):
        before.frames_at([3.25], BIG - 1, 1)


def test_what_is_no_film_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="is not a file, nor a folder of frames"):
        open_video(tmp_path / "empty")
    (folder / "frame_1.JPG").write_bytes(b"no picture")
    with pytest.raises(VideoError, match="not a readable image"):
        open_video(folder)
    assert not is_frame_folder(str(tmp_path / "gone"))


def test_no_link_leads_out_of_it(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.fromarray(movies.picture(1)).save(secret)
    os.symlink(secret, folder / "frame_0.png")
    with pytest.raises(VideoError, match=r"a picture that is a link out of it, frame_0\.png"):
        open_video(folder)
    os.symlink(folder, tmp_path / "root_clip")
    (tmp_path / "root").mkdir()
    os.symlink(folder, tmp_path / "root" / "clip")
    os.symlink(secret, tmp_path / "root" / "clip#fps=5")
    for suffix in ("", "#fps=3", "#fps=5"):
        with pytest.raises(VideoError, match="is a link out of"):
            Scene(f"{tmp_path}/root/clip{suffix}", (), root=str(tmp_path / "root")).require_confined()
