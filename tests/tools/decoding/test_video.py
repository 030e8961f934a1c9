import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.files import JsonObject
from tests.films import movies
from tests.tools.conftest import UNEVEN
from tools.decoding.decode_process import Request
from tools.decoding.frame import FrameRef
from tools.decoding.video import VideoError, decode_process, open_video, read_frame, read_frames

BIG = 10**6


@pytest.mark.parametrize("name", ["even", "uneven", "late", "mkv", "ts", "fragmented"])
def test_every_frame_is_found_by_its_time_in_any_order(films: dict[str, str], name: str) -> None:
    video = open_video(films[name])
    order = np.random.default_rng(0).permutation(len(video.times))
    frames = [video.frames_at([video.times[i]], BIG, 32)[0] for i in order[:60]]
    assert [movies.number(frame.pixels) for frame in frames] == order[:60].tolist()
    assert [frame.time_s for frame in frames] == video.times[order[:60]].tolist()


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("even", [i / 8 for i in range(160)]),
        ("uneven", [ms / 1000 for ms in UNEVEN]),
        ("late", [i / 8 for i in range(40, 140)]),
        ("mkv", [ms / 1000 for ms in UNEVEN]),
        ("ts", [i / 8 for i in range(40, 140)]),
    ],
)
def test_times_are_those_of_the_container(films: dict[str, str], name: str, times: list[float]) -> None:
    assert open_video(films[name]).times.tolist() == times


def test_what_a_video_tells_of_itself(films: dict[str, str]) -> None:
    video = open_video(films["late"])
    assert (video.width, video.height, video.duration_s) == (192, 192, 17.5)
    assert repr(video).endswith("100 frames from 5.000 s to 17.500 s, 192x192, 8 frames a second, read by pyav)")


@settings(max_examples=60)
@given(time_s=st.floats(-5, 30))
def test_the_frame_shown_is_the_last_that_has_begun(films: dict[str, str], time_s: float) -> None:
    video = open_video(films["uneven"])
    frame = video.frames_at([time_s], BIG, 32)[0]
    begun = [i for i, start_s in enumerate(video.times) if start_s <= time_s + 1e-6]
    shown = begun[-1] if begun else 0
    assert movies.number(frame.pixels) == shown
    assert frame.time_s == frame.ref.time_s == video.times[shown]


def test_frames_come_in_the_order_asked_with_repeats(films: dict[str, str]) -> None:
    frames = open_video(films["even"]).frames_at([10.0, 2.0, 10.0], BIG, 32)
    assert [movies.number(frame.pixels) for frame in frames] == [80, 16, 80]


@settings(max_examples=40)
@given(
    ends=st.tuples(st.floats(-10, 40), st.floats(-10, 40)).map(sorted),
    fps=st.floats(0.1, 30),
    most=st.integers(1, 12),
)
def test_a_clip_is_spread_evenly_without_repeats(
    films: dict[str, str], ends: list[float], fps: float, most: int
) -> None:
    video = open_video(films["late"])
    frames = video.clip(ends[0], ends[1], fps, most, 96 * 96, 32)
    times = [frame.time_s for frame in frames]
    start_s, end_s = np.clip(ends, 5.0, 17.5)
    assert 1 <= len(frames) <= min(most, max(1, round((end_s - start_s) * fps)))
    assert times == sorted(set(times))
    assert all(start_s - 0.125 <= time_s <= end_s for time_s in times)
    assert [movies.number(frame.pixels) for frame in frames] == [round(time_s * 8) - 40 for time_s in times]
    if len(frames) > 2:
        assert np.ptp(np.diff(times)) <= 0.1251


def test_a_clip_shows_the_middle_of_each_slice(films: dict[str, str]) -> None:
    frames = open_video(films["even"]).clip(4.0, 8.0, 1.0, 32, BIG, 32)
    assert [frame.time_s for frame in frames] == [4.5, 5.5, 6.5, 7.5]


@pytest.mark.parametrize("stretch", [(3.0, 2.0), (float("nan"), 2.0)])
def test_a_clip_that_makes_no_sense_is_refused(films: dict[str, str], stretch: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no clip from"):
        open_video(films["even"]).clip(*stretch, 1.0, 4, BIG, 32)


def test_read_frame_gives_the_same_bytes_in_a_new_process(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["uneven"])
    frames = video.clip(2.0, 9.0, 2.0, 8, 100 * 80, 16)
    forget()
    for frame in reversed(frames):
        again = read_frame(frame.ref)
        assert np.array_equal(again, frame.pixels)
        assert again.shape == (frame.ref.height, frame.ref.width, 3)


def test_frames_of_a_film_are_read_in_one_request(
    films: dict[str, str], fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files of its own, of which no process of the node has frames.
    paths = [shutil.copy(films[name], tmp_path) for name in ("even", "uneven")]
    one, other = map(open_video, paths)
    small = one.frames_at([9.0], 64 * 64, 32)
    frames = [*one.clip(2.0, 6.0, 2.0, 8, BIG, 32), *small, *other.frames_at([3.0], BIG, 32)]
    forget()
    for path in paths:
        open_video(path)
    process = decode_process()
    ask, asked = process._ask, []

    def counted(request: Request, timeout_s: float) -> tuple[JsonObject, bytes]:
        asked.append(len(request["indices"]))
        return ask(request, timeout_s)

    monkeypatch.setattr(process, "_ask", counted)
    read = read_frames([frame.ref for frame in frames])
    assert asked == [8, 1, 1]
    assert all(np.array_equal(pixels, frame.pixels) for pixels, frame in zip(read, frames, strict=True))
    with pytest.raises(VideoError, match=r"has no frame at 3\.01 s any more"):
        read_frames([frames[0].ref, dataclasses.replace(frames[1].ref, time_s=3.01)])


def forget() -> None:
    from tools.decoding import video

    decode_process().close()
    video._state = video._State()


def test_a_stretch_is_decoded_once(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["even"])
    first = video.clip(2.0, 5.0, 2.0, 8, BIG, 32)
    decode_process().close()
    again = open_video(films["even"]).clip(2.0, 5.0, 2.0, 8, BIG, 32)
    assert decode_process().pid is None
    assert all(a.pixels is b.pixels for a, b in zip(first, again, strict=True))


def test_pixels_are_read_only(films: dict[str, str]) -> None:
    frame = open_video(films["even"]).frames_at([0.0], 96 * 96, 32)[0]
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0] = 0


def test_a_rotated_video_is_set_upright(tmp_path: Path) -> None:
    path = movies.write(tmp_path / "wide.mp4", range(20), size=(192, 128))
    video = open_video(movies.rotate(path, tmp_path / "tall.mp4"))
    assert (video.width, video.height) == (128, 192)
    pixels = video.frames_at([1.0], BIG, 32)[0].pixels
    assert movies.number(np.rot90(pixels)) == 8


def test_a_changed_file_is_read_anew(films: dict[str, str], tmp_path: Path) -> None:
    path = str(tmp_path / "film.mp4")
    shutil.copy(films["even"], path)
    frame = open_video(path).frames_at([19.0], BIG, 32)[0]
    shutil.copy(films["fragmented"], path)
    assert len(open_video(path).times) == 100
    with pytest.raises(VideoError, match=r"has no frame at 19.0 s any more"):
        read_frame(frame.ref)


def test_a_torn_file_gives_what_is_left_with_true_times(films: dict[str, str], tmp_path: Path) -> None:
    data = Path(films["mkv"]).read_bytes()
    path = tmp_path / "torn.mkv"
    path.write_bytes(data[: len(data) * 2 // 3])
    video = open_video(str(path))
    frames = video.clip(0.0, 13.0, 2.0, 32, BIG, 32)
    assert len(frames) > 5
    assert all(frame.time_s == UNEVEN[movies.number(frame.pixels)] / 1000 for frame in frames)


def test_damage_in_the_middle_never_mislabels_a_frame(films: dict[str, str], tmp_path: Path) -> None:
    data = bytearray(Path(films["even"]).read_bytes())
    start = data.index(b"mdat")
    third = (len(data) - start) // 3
    data[start + third : start + 2 * third] = os.urandom(third)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    video = open_video(str(path))
    for frame in video.frames_at([0.0, 2.0, 19.5], BIG, 32):
        assert movies.number(frame.pixels) == round(frame.time_s * 8)


def bad_files(folder: Path, films: dict[str, str]) -> dict[str, Path]:
    files = {
        name: folder / name
        for name in ("missing.mp4", "empty.mp4", "text.mp4", "headless.mp4", "list.m3u8", "concat.mp4")
    }
    files["empty.mp4"].touch()
    files["text.mp4"].write_text("this is no video\n" * 100)
    whole = Path(films["even"]).read_bytes()
    files["headless.mp4"].write_bytes(whole[: whole.index(b"moov")])
    # Both of these open with FFmpeg's defaults, and show another file than the one named.
    playlist = "#EXTM3U", "#EXT-X-TARGETDURATION:20", "#EXTINF:20,", films["ts"], "#EXT-X-ENDLIST"
    files["list.m3u8"].write_text("\n".join(playlist))
    files["concat.mp4"].write_text(f"ffconcat version 1.0\nfile {films['ts']}\n")
    files["sound.m4a"] = Path(movies.write_sound(folder / "sound.m4a"))
    return files


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "not a readable video"),
        ("headless.mp4", "not a readable video"),
        ("list.m3u8", "not in a video container"),
        ("concat.mp4", "not in a video container"),
        ("sound.m4a", "has no video stream"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence(
    films: dict[str, str], tmp_path: Path, name: str, reason: str
) -> None:
    path = bad_files(tmp_path, films)[name]
    with pytest.raises(VideoError, match=reason) as caught:
        open_video(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_reference_to_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="is not a file"):
        open_video(tmp_path)
    with pytest.raises(VideoError, match="no such file"):
        read_frame(FrameRef(str(tmp_path / "gone.mp4"), 1.0, 32, 32))


def test_a_region_is_cut_out_before_it_is_resized(films: dict[str, str]) -> None:
    video = open_video(films["even"])
    [whole] = video.frames_at([5.0], BIG, 1)
    [part] = video.frames_at([5.0], BIG, 1, region=(64, 0, 192, 96))
    assert np.array_equal(part.pixels, whole.pixels[:96, 64:])
    assert np.array_equal(read_frame(part.ref), part.pixels)
    with pytest.raises(ValueError, match="no region"):
        video.frames_at([5.0], BIG, 1, region=(64, 0, 193, 96))


def test_a_scan_gives_the_frames_in_the_order_asked(films: dict[str, str]) -> None:
    video = open_video(films["even"])
    times = [10.0, 9.5, 9.5, 0.1, 12.0] * 5
    looks = list(video.scan(times, 64 * 64))
    assert [movies.number(pixels) for _, pixels in looks] == [int(t * 8) for t in times]
    assert [time_s for time_s, _ in looks] == [int(t * 8) / 8 for t in times]
    with pytest.raises(VideoError, match="took longer than 0 s"):
        list(video.scan(times, 64 * 64, timeout_s=0))


def test_a_file_that_is_replaced_while_open_is_told(films: dict[str, str], tmp_path: Path, fresh: None) -> None:
    film = tmp_path / "film.mp4"
    shutil.copy(films["even"], film)
    video = open_video(film)
    assert movies.number(video.frames_at([4.0], BIG, 32)[0].pixels) == 32
    shutil.copy(films["late"], tmp_path / "other.mp4")
    os.replace(tmp_path / "other.mp4", film)
    for _ in range(2):
        with pytest.raises(VideoError, match="was changed while it was open; open it again"):
            video.frames_at([2.0], BIG, 32)
        decode_process().close()
    assert movies.number(open_video(film).frames_at([6.0], BIG, 32)[0].pixels) == 8
