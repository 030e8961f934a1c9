import numpy as np
import pytest

from tests.tools import movies
from tools import decoder, video
from tools.decord_reader import DecordReader, proven
from tools.pyav_reader import PyavReader
from tools.video import open_video

pytest.importorskip("decord")


@pytest.mark.parametrize("name", ["late", "uneven", "ts"])
def test_a_file_whose_times_decord_shifts_is_left_to_pyav(films, name):
    assert not proven(DecordReader(films[name]), PyavReader(films[name]))


def test_wrong_pixels_are_noticed(films, monkeypatch):
    fast, truth = DecordReader(films["even"]), PyavReader(films["even"])
    off_by_one = fast.read
    monkeypatch.setattr(fast, "read", lambda index: off_by_one(max(0, index - 1)))
    assert not proven(fast, truth)


def test_decord_gives_the_same_bytes_where_its_times_are_right(films, fresh):
    by_pyav = open_video(films["even"]).clip(3.0, 9.0, 3.0, 32, 100 * 100, 4)
    video._state = video._State()
    opened = open_video(films["even"])
    opened.reader = "decord"
    by_decord = opened.clip(3.0, 9.0, 3.0, 32, 100 * 100, 4)
    assert repr(opened).endswith("read by decord)")
    for a, b in zip(by_pyav, by_decord, strict=True):
        assert a.ref == b.ref
        assert np.array_equal(a.pixels, b.pixels)


def test_where_decord_fails_pyav_reads_on(films, monkeypatch):
    class Failing:
        def __init__(self, path: str) -> None:
            raise RuntimeError("no decoder for this codec")

    monkeypatch.setattr(decoder, "DecordReader", Failing)
    request = {"do": "frames", "path": films["even"], "stamp": [0, 0], "indices": [9], "width": 96, "height": 96}
    head, body = decoder.Decoder().answer({**request, "reader": "decord"})
    assert head == {"shown": [9], "reader": "pyav"}
    assert movies.number(np.frombuffer(body, np.uint8).reshape(96, 96, 3)) == 9


def test_the_reader_of_a_large_picture_is_chosen_by_proof(tmp_path, fresh):
    opened = open_video(movies.write(tmp_path / "large.mp4", range(48), size=(640, 384)))
    assert opened.reader in ("pyav", "decord")
    frames = opened.clip(0.0, 6.0, 2.0, 32, 10**6, 32)
    assert [movies.number(frame.pixels) for frame in frames] == [round(frame.time_s * 8) for frame in frames]
