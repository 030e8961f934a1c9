"""Files that make readers err: codecs and groupings, cuts, and what is torn, huge, tiny or unknown."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import movies
from tests.films.clips import numbered, real_clips
from tools.decoding.image import resize
from tools.decoding.pyav_reader import PyavReader
from tools.decoding.video import VideoError, open_video

BIG = 10**6
NAMES = [
    "H.264",
    "H.264 open GOP",
    "H.264 variable rate",
    "H.264 first at 10 s",
    "H.264 first before 0",
    "HEVC open GOP",
    "HEVC variable rate",
    "VP9",
    "MPEG-4",
    "MPEG-4 in AVI",
    "H.264 cut, edit list",
]


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    films = numbered(tmp_path_factory.mktemp("hard"), 80)
    assert list(films) == NAMES
    return films


@pytest.mark.parametrize("name", NAMES)
def test_any_frames_in_any_order_are_those_that_a_player_shows(hard: dict[str, str], name: str) -> None:
    with av.open(hard[name]) as container:
        shown = [(f.time, movies.number(f.to_ndarray(format="rgb24"))) for f in container.decode(video=0)]
    reader = PyavReader(hard[name])
    assert reader.index.times.tolist() == pytest.approx([time for time, _ in shown])
    rng = np.random.default_rng(0)
    for _ in range(12):
        wanted = sorted(rng.choice(len(shown), 6, replace=False).tolist())
        assert [(i, movies.number(pixels)) for i, pixels in reader.read_many(wanted)] == [
            (i, shown[i][1]) for i in wanted
        ]


@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4"])
def test_real_clips_are_read_frame_by_frame(name: str) -> None:
    path = real_clips()[name]
    with av.open(path) as container:
        shown = {i: f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i % 17 == 3}
    reader = PyavReader(path)
    for wanted in (sorted(shown, reverse=True), sorted(shown)):
        for i, pixels in zip(wanted, (reader.read(i)[1] for i in wanted), strict=True):
            assert np.array_equal(pixels, resize(shown[i], reader.index.width, reader.index.height))


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    video = open_video(movies.write(tmp_path / "one.mp4", [0]))
    assert [movies.number(f.pixels) for f in video.clip(0.0, 9.0, 2.0, 8, BIG, 32)] == [0]
    assert video.rate is None


@pytest.mark.process
def test_ten_hours_at_a_frame_a_second(tmp_path: Path) -> None:
    path = movies.write(tmp_path / "long.mp4", range(36_000), Fraction(1, 1), size=(48, 48), gop=60, b_frames=0)
    video = open_video(path)
    assert video.duration_s == pytest.approx(36_000, abs=2)
    assert len(video.clip(0.0, 36_000.0, 1.0, 16, BIG, 16)) == 16
    frames = video.frames_at([35_999.0, 7.0, 20_000.5], BIG, 16)
    assert [frame.time_s for frame in frames] == [35_999.0, 7.0, 20_000.0]
    assert [movies.number(frame.pixels) for frame in frames] == [35_999 % 512, 7, 20_000 % 512]


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = Path(movies.write(tmp_path / "whole.mp4", range(160), options={"movflags": "faststart"}))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    video = open_video(path)
    [first] = video.frames_at([0.0], BIG, 32)
    assert movies.number(first.pixels) == 0
    for time_s in (5.0, 19.0):
        try:
            [frame] = video.frames_at([time_s], BIG, 32)
        except VideoError:
            continue
        assert movies.number(frame.pixels) == round(frame.time_s * 8)


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = Path(movies.write(tmp_path / "film.mp4", range(16)))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    with pytest.raises(VideoError, match=r"film\.mp4: .*(cannot be decoded|no frame|codec)"):
        open_video(path)


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(movies.picture(3)).save(tmp_path / "still.png")
    with pytest.raises(VideoError, match=r"still\.png: is not in a video container"):
        open_video(tmp_path / "still.png")
