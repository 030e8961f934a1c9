"""Files whose headers and timestamps are untidy: what is read is what players show."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import movies
from tools.decoding.index import Orientation
from tools.decoding.pyav_reader import PyavReader
from tools.decoding.video import Video, open_video, read_frame
from tools.registry import call
from tools.scene import Limits, Scene

BIG = 10**7
LIMITS = Limits(BIG, 2.0, 8, 4, 10.0, 40, 32, 30.0)
ONE = 1 << 16
FRAMES = 100


def numbers(video: Video, indices: list[int]) -> list[int]:
    """What is shown half a frame after each of these frames begins."""
    times = [float(video.times[i]) + 0.02 for i in indices]
    return [movies.number(frame.pixels) for frame in video.frames_at(times, BIG, 1)]


def decoding_times_for_shown(path: str, to: Path) -> str:
    """A copy without re-encoding by a muxer that takes the times of decoding for those of showing."""
    with av.open(path) as source, av.open(str(to), "w") as output:
        old = source.streams.video[0]
        new = output.add_stream_from_template(old)
        packets = [packet for packet in source.demux(old) if packet.dts is not None]
        first = min(packet.dts or 0 for packet in packets)
        for packet in packets:
            packet.dts = packet.pts = (packet.dts or 0) - first
            packet.stream = new
            output.mux(packet)
    return str(to)


UNTIMED = {
    "H.264 in AVI": lambda folder: movies.write(folder / "a.avi", range(FRAMES)),
    "three B-frames": lambda folder: movies.write(folder / "b.avi", range(FRAMES), gop=30, b_frames=3),
    "keyframes alone at the start": lambda folder: movies.write(folder / "c.avi", range(FRAMES), gop=250),
    "pts = dts in MP4": lambda folder: decoding_times_for_shown(
        movies.write(folder / "even.mp4", range(FRAMES)), folder / "d.mp4"
    ),
    "pts = dts in MKV": lambda folder: decoding_times_for_shown(
        movies.write(folder / "even.mp4", range(FRAMES), b_frames=3), folder / "e.mkv"
    ),
}


@pytest.mark.parametrize("name", UNTIMED)
def test_frames_without_true_times_are_shown_in_order_at_even_times(name: str, tmp_path: Path) -> None:
    video = open_video(UNTIMED[name](tmp_path))
    assert len(video.times) == FRAMES
    assert np.diff(video.times) == pytest.approx(1 / 8, abs=1e-3)
    assert ", times estimated" in repr(video)
    assert numbers(video, list(range(FRAMES))) == list(range(FRAMES))
    order = np.random.default_rng(0).permutation(FRAMES).tolist()
    fresh = PyavReader(video.path)
    assert [movies.number(fresh.read(i)[1]) for i in order] == order
    assert [movies.number(PyavReader(video.path, fresh.index).read(i)[1]) for i in (97, 40, 3)] == [97, 40, 3]
    [frame] = video.frames_at([float(video.times[61])], BIG, 32)
    assert np.array_equal(read_frame(frame.ref), frame.pixels)


@pytest.mark.parametrize("name", [name for name in UNTIMED if "MKV" in name or "three" in name])
def test_they_are_found_from_the_keyframe_before_them(name: str, tmp_path: Path) -> None:
    reader = PyavReader(UNTIMED[name](tmp_path))
    assert len(reader.index.key_dts) > 2
    restarts: list[int] = []
    restart = reader._restart
    reader._restart = lambda: restarts.append(1) or restart()  # type: ignore[func-returns-value, method-assign]
    assert [movies.number(reader.read(i)[1]) for i in (90, 50, 70, 40)] == [90, 50, 70, 40]
    assert not restarts


def test_reordering_that_begins_late_is_seen(tmp_path: Path) -> None:
    still = [movies.picture(0)] * 60
    path = movies.write_pictures(tmp_path / "still.mp4", [*still, *(movies.picture(i) for i in range(60))])
    video = open_video(decoding_times_for_shown(path, tmp_path / "late.mp4"))
    assert video.estimated
    assert numbers(video, list(range(60, 120))) == list(range(60))


def test_times_that_jump_back_are_those_of_the_order(films: dict[str, str], tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    joined.write_bytes(Path(films["ts"]).read_bytes() * 2)
    video = open_video(joined)
    assert video.estimated
    assert numbers(video, [0, 50, 99, 100, 150, 199]) == [0, 50, 99, 0, 50, 99]
    assert np.all(np.diff(video.times) > 0)


def test_true_times_are_not_called_estimated(films: dict[str, str]) -> None:
    for path in films.values():
        assert not open_video(path).estimated
        assert "estimated" not in repr(open_video(path))


@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((160, 240), (2, 1), (320, 240)),
        ((320, 120), (1, 2), (320, 240)),
        ((352, 288), (128, 117), (385, 288)),
        ((192, 192), (1, 1), (192, 192)),
        ((192, 192), (1000, 1), (192, 192)),
    ],
)
def test_pixels_are_square(
    size: tuple[int, int], aspect: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    path = str(tmp_path / "a.mp4")
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for i in range(16):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(movies.picture(i, *size), format="rgb24")))
        output.mux(stream.encode())
    video = open_video(path)
    assert (video.width, video.height) == shown
    [frame] = video.frames_at([1.0], BIG, 1)
    assert frame.pixels.shape == (shown[1], shown[0], 3)
    assert movies.number(frame.pixels) == 8
    [part] = video.frames_at([1.0], BIG, 1, region=(shown[0] // 2, 0, shown[0], shown[1]))
    assert np.array_equal(part.pixels, frame.pixels[:, shown[0] // 2 :])


ORIENTATIONS = {
    "as stored": ((1, 0, 0, 1), 0, False, lambda p: p),
    "mirrored": ((-1, 0, 0, 1), 0, True, lambda p: p[:, ::-1]),
    "upside down mirrored": ((1, 0, 0, -1), 180, True, lambda p: p[::-1]),
    "half a turn": ((-1, 0, 0, -1), 180, False, lambda p: p[::-1, ::-1]),
    "a quarter turn clockwise": ((0, 1, -1, 0), 90, False, lambda p: np.rot90(p, -1)),
    "a quarter turn back": ((0, -1, 1, 0), 270, False, lambda p: np.rot90(p, 1)),
    "mirrored and a quarter turn": ((0, -1, -1, 0), 90, True, lambda p: np.rot90(p[:, ::-1], -1)),
    "mirrored and a quarter turn back": ((0, 1, 1, 0), 270, True, lambda p: np.rot90(p[:, ::-1], 1)),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_picture_is_set_upright_as_its_header_says(name: str, tmp_path: Path) -> None:
    (a, b, c, d), rotation, mirrored, upright = ORIENTATIONS[name]
    stored = movies.write(tmp_path / "stored.mp4", range(16), size=(192, 144))
    data = bytearray(Path(stored).read_bytes())
    at = data.index(struct.pack(">3i", ONE, 0, 0), data.index(b"tkhd"))
    data[at : at + 20] = struct.pack(">5i", a * ONE, b * ONE, 0, c * ONE, d * ONE)
    (tmp_path / "turned.mp4").write_bytes(data)
    video = open_video(tmp_path / "turned.mp4")
    [before] = open_video(stored).frames_at([1.5], BIG, 1)
    [after] = video.frames_at([1.5], BIG, 1)
    assert np.array_equal(after.pixels, upright(before.pixels))
    assert (video.width, video.height) == after.pixels.shape[1::-1]
    assert (video.rotation, video.mirrored) == (rotation, mirrored)


def test_a_matrix_is_taken_to_the_nearest_quarter_turn() -> None:
    assert Orientation.of((64000, 2000, 0, -2000, 64000, 0, 0, 0, 1 << 30)) == Orientation()
    assert Orientation.of((100, -65000, 0, 65000, 90, 0, 0, 0, 1 << 30)).rotation == 270


@pytest.mark.parametrize("sizes", [((640, 480), (320, 240)), ((160, 120), (640, 480)), ((320, 240), (240, 320))])
def test_where_the_size_changes_a_box_is_of_the_frame_that_is_cut(
    sizes: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    path = str(tmp_path / "a.ts")
    with av.open(path, "w", format="mpegts") as output:
        stream = output.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        for part, size in enumerate(sizes):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
            encoder.time_base, encoder.framerate, encoder.max_b_frames = Fraction(1, 8), Fraction(8), 0
            packets = []
            for i in range(16):
                frame = av.VideoFrame.from_ndarray(movies.picture(16 * part + i, *size), "rgb24")
                frame.pts, frame.time_base = 16 * part + i, Fraction(1, 8)
                packets += encoder.encode(frame)
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream, packet.time_base = stream, Fraction(1, 8)
                output.mux(packet)
    video = open_video(path)
    assert (video.width, video.height) == sizes[0]
    assert numbers(video, [3, 15, 16, 31]) == [3, 15, 16, 31]
    start = float(video.times[0])
    for index in (5, 21):
        time_s = start + index / 8
        [whole] = video.frames_at([time_s], BIG, 1)
        for box in ([0, 0, 500, 500], [600, 600, 1000, 1000]):
            *_, shown = call("zoom_region", {"time": time_s, "box": box}, ["zoom_region"], Scene(path, ()), LIMITS)
            assert not isinstance(shown, str)
            left, top, right, bottom = (round(v / 1000 * s) for v, s in zip(box, sizes[0] * 2, strict=True))
            expected = whole.pixels[top:bottom, left:right].mean(axis=(0, 1))
            assert shown.pixels.mean(axis=(0, 1)) == pytest.approx(expected, abs=4)
