from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import movies
from tools.decoding import decoder, video
from tools.decoding.decode_process import Request
from tools.decoding.decord_reader import DecordReader, speedup
from tools.decoding.pyav_reader import PyavReader
from tools.decoding.video import open_video

pytest.importorskip("decord")


@pytest.mark.parametrize("name", ["late", "uneven", "ts"])
def test_a_file_whose_times_decord_shifts_is_left_to_pyav(films: dict[str, str], name: str) -> None:
    assert speedup(DecordReader(films[name]), PyavReader(films[name])) == 0.0


def test_a_file_on_which_both_agree_is_proven(films: dict[str, str]) -> None:
    assert speedup(DecordReader(films["even"]), PyavReader(films["even"])) > 0.0


def test_wrong_pixels_are_noticed(films: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fast, truth = DecordReader(films["even"]), PyavReader(films["even"])
    off_by_one = fast.read
    monkeypatch.setattr(fast, "read", lambda index: off_by_one(max(0, index - 1)))
    assert speedup(fast, truth) == 0.0


def test_decord_gives_the_same_bytes_where_its_times_are_right(films: dict[str, str], fresh: None) -> None:
    by_pyav = open_video(films["even"]).clip(3.0, 9.0, 3.0, 32, 100 * 100, 4)
    video._state = video._State()
    opened = open_video(films["even"])
    opened.reader = "decord"
    by_decord = opened.clip(3.0, 9.0, 3.0, 32, 100 * 100, 4)
    assert repr(opened).endswith("read by decord)")
    for a, b in zip(by_pyav, by_decord, strict=True):
        assert a.ref == b.ref
        assert np.array_equal(a.pixels, b.pixels)


def test_where_decord_fails_pyav_reads_on(films: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, path: str) -> None:
            raise RuntimeError("no decoder for this codec")

    monkeypatch.setattr(decoder, "DecordReader", Failing)
    request: Request = {"do": "frames", "path": films["even"], "stamp": video._stamp(films["even"]), "indices": [9]}
    request |= {"width": 96, "height": 96, "region": None, "keyframes": False, "reader": "decord"}
    head, body = decoder.Decoder().answer(request)
    assert head == {"shown": [9], "reader": "pyav"}
    assert movies.number(np.frombuffer(body, np.uint8).reshape(96, 96, 3)) == 9


@pytest.mark.parametrize("gain", [0.0, 0.9, 1.1])
def test_the_reader_is_chosen_by_proof_and_the_choice_kept(
    films: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gain: float
) -> None:
    tried = []

    def measure(fast: object, truth: object) -> float:
        tried.append(1)
        return gain

    monkeypatch.setattr(decoder, "speedup", measure)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    request: Request = {"do": "prove", "path": films["even"], "stamp": video._stamp(films["even"])}
    assert [decoder.Decoder().answer(request)[0]["decord"] for _ in range(2)] == [gain > 1] * 2
    assert len(tried) == 1


@pytest.mark.parametrize(("room", "tried"), [(1.0, [1]), (0.999, [])])
def test_a_film_that_would_not_fit_decoded_is_left_to_pyav(
    films: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, room: float, tried: list[int]
) -> None:
    made = []

    def measure(fast: object, truth: object) -> float:
        made.append(1)
        return 2.0

    monkeypatch.setattr(decoder, "speedup", measure)
    monkeypatch.setattr(decoder, "DECORD_BYTES", room * len(open_video(films["even"]).times) * 192 * 192 * 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    request: Request = {"do": "prove", "path": films["even"], "stamp": video._stamp(films["even"])}
    assert decoder.Decoder().answer(request)[0]["decord"] == bool(tried)
    assert made == tried


def test_those_that_decord_has_open_fit_together(films: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "OPEN_DECORD_BYTES", 0)
    opened = decoder.Decoder()
    frames = {"do": "frames", "indices": [9], "width": 96, "height": 96, "region": None, "keyframes": False}
    for name in ("even", "late"):
        path = films[name]
        request: Any = {**frames, "path": path, "stamp": video._stamp(path), "reader": "decord"}
        opened.answer(request)
    assert [path for path, *_ in opened._open] == [films["late"]]


def test_a_choice_that_fails_is_taken_back_for_good(
    films: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(decoder, "speedup", lambda fast, truth: 2.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    request: Request = {"do": "prove", "path": films["even"], "stamp": video._stamp(films["even"])}
    frames: Request = {
        **request,
        "do": "frames",
        "indices": [9],
        "width": 96,
        "height": 96,
        "region": None,
        "keyframes": False,
    }
    first = decoder.Decoder()
    assert first.answer(request)[0]["decord"]
    first.answer({**frames, "reader": "pyav"})
    assert not decoder.Decoder().answer(request)[0]["decord"]


def test_a_large_picture_is_read_right_by_whichever_reader(tmp_path: Path, fresh: None) -> None:
    opened = open_video(movies.write(tmp_path / "large.mp4", range(48), size=(640, 384)))
    frames = opened.clip(0.0, 6.0, 2.0, 32, 10**6, 32)
    assert [movies.number(frame.pixels) for frame in frames] == [round(frame.time_s * 8) for frame in frames]
