"""Real files as parts: true times, sizes, and the file itself."""

import base64
import dataclasses
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from configs.endpoint import EndpointConfig
from endpoint.parts import Clip, Image, Part, wire
from synth.footage import footage
from tests.films import movies
from tests.tools.conftest import UNEVEN
from tools.decoding.video import open_video

CONFIG = EndpointConfig(fps=2.0, max_frames=8, max_pixels=96 * 96)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of variable frame rate, 192x192 pixels, whose i-th frame shows i."""
    return movies.write(tmp_path_factory.mktemp("film") / "uneven.mp4", UNEVEN, movies.Fraction(1, 1000))


def pictures(parts: list[Part]) -> list[np.ndarray]:
    return [np.asarray(Picture.open(BytesIO(part.data))) for part in parts if isinstance(part, Image)]


def labels(parts: list[Part]) -> list[str]:
    return [part for part in parts if isinstance(part, str)]


def test_each_frame_stands_after_its_true_time(uneven: str) -> None:
    config, video = dataclasses.replace(CONFIG, max_frames=1000), open_video(uneven)
    parts = footage(config, video)
    true = video.clip(0.0, video.duration_s, 2.0, 1000, 96 * 96, 1)
    assert [type(part) for part in parts] == [str, Image] * len(true)
    assert labels(parts) == [f"{frame.time_s:.1f} s" for frame in true]
    times = np.array([float(label.removesuffix(" s")) for label in labels(parts)])
    assert np.abs(times[:, None] - np.array(UNEVEN) / 1000).min(1).max() <= 0.05 + 1e-9
    for frame, shown in zip(true, pictures(parts), strict=True):
        assert shown.shape == frame.pixels.shape == (96, 96, 3)
        assert np.abs(shown.astype(int) - frame.pixels).mean() < 4


def test_a_long_video_is_spread_over_as_many_frames_as_are_allowed(uneven: str) -> None:
    video = open_video(uneven)
    parts = footage(CONFIG, video)
    assert len(pictures(parts)) == 8
    times = [float(label.removesuffix(" s")) for label in labels(parts)]
    assert times == sorted(times)
    assert times[0] < video.duration_s / 8
    assert times[-1] > video.duration_s * 7 / 8 - 0.3


def test_pixels_are_bounded(uneven: str) -> None:
    for picture in pictures(footage(dataclasses.replace(CONFIG, max_pixels=50 * 40), open_video(uneven))):
        assert 0.8 * 2000 < picture.shape[0] * picture.shape[1] <= 2000


def test_the_file_goes_as_it_is(uneven: str) -> None:
    [whole] = footage(dataclasses.replace(CONFIG, video_as="video"), open_video(uneven))
    assert whole == Clip(uneven)
    part = wire(whole)
    assert part["type"] == "video_url"
    head, data = part["video_url"]["url"].split(",")
    assert head == "data:video/mp4;base64"
    with open(uneven, "rb") as file:
        assert base64.b64decode(data) == file.read()


def test_a_folder_of_frames_goes_as_its_frames(tmp_path: Path) -> None:
    for i in range(3):
        Picture.new("RGB", (64, 48), (80 * i, 0, 0)).save(tmp_path / f"{i}.png")
    parts = footage(dataclasses.replace(CONFIG, video_as="video"), open_video(str(tmp_path)))
    assert labels(parts) == ["0.0 s", "1.0 s", "2.0 s"]
    assert len(pictures(parts)) == 3


def test_other_pictures_than_png_and_jpeg_are_refused() -> None:
    with pytest.raises(ValueError, match="must be PNG or JPEG"):
        Image(b"GIF89a......")
