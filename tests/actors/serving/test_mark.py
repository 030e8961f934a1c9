"""Marks that people ask for: reading them, and drawing them on the frame they mean."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actors.serving.mark import SYNTAX, MarkError, RequestedMark, draw_mark, parse_mark
from configs.world import PROMPT_KINDS
from env.task import Task
from tests.films import movies
from tools.decoding.video import Video, open_video


@pytest.fixture(scope="module")
def video(task: Task) -> Video:
    return open_video(task.video)


def test_the_documented_syntax_is_read() -> None:
    assert parse_mark(SYNTAX) == RequestedMark("rectangle", 3.2, (40, 52, 30, 24))


def test_text_and_json_say_the_same() -> None:
    fields = {"kind": "ellipse", "t": 1.5, "x": 0.25, "y": 0.5, "w": 0.1, "h": 0.2}
    text = "ellipse:t=1.5,x=0.25,y=0.5,w=0.1,h=0.2"
    assert parse_mark(text) == parse_mark(fields) == parse_mark(json.dumps(fields))


def test_a_point_and_an_outline_are_read() -> None:
    assert parse_mark("point: t=2, x=7, y=9").points == ((7, 9),)
    outline = ((1, 1), (9, 1), (5, 8))
    assert parse_mark("mask_contour:t=2,points=1:1;9:1;5:8").points == outline
    assert parse_mark({"kind": "mask_contour", "t": 2, "points": [list(point) for point in outline]}).points == outline


numbers = st.floats(0, 1e4, allow_nan=False).filter(lambda value: value == 0 or value > 1e-6)


@given(
    kind=st.sampled_from([k for k in PROMPT_KINDS if k != "mask_contour"]), t=numbers, x=numbers, y=numbers, w=numbers
)
def test_what_is_written_is_what_is_read(kind: str, t: float, x: float, y: float, w: float) -> None:
    mark = parse_mark(f"{kind}:t={t!r},x={x!r},y={y!r},w={w + 1!r},h=2")
    assert mark == RequestedMark(kind, t, (x, y, w + 1, 2))


@given(st.text(max_size=40) | st.dictionaries(st.text(max_size=6), st.none() | st.floats() | st.text(max_size=4)))
def test_any_other_input_is_one_sentence(mark: str | Mapping[str, object]) -> None:
    with pytest.raises(MarkError, match=r"^mark: "):
        parse_mark(mark)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("circle:t=1,x=1,y=1", "no kind 'circle'; the kinds are rectangle"),
        ("rectangle:x=1,y=1,w=2,h=2", "t, the time in seconds, is missing"),
        ("rectangle:t=1,x=1,y=1,w=2", "h missing"),
        ("rectangle:t=1,x=1,y=1,w=0,h=2", "w and h must be above 0"),
        ("rectangle:t=soon,x=1,y=1", "t is not a number but 'soon'"),
        ("rectangle:t=nan,x=1,y=1", "t is not a number"),
        ("rectangle:t=1,x=1,y=1,z=4", "unknown field 'z'"),
        ("rectangle:t=1,x", "'x' is not of the form name=value"),
        ("mask_contour:t=1,x=1,y=1,w=2,h=2", "mask_contour needs the target's outline"),
        ("point:t=1,points=1:2;3:4", "three or more of its outline"),
        ("point:t=1,x=1,y=1,points=1:2", "either points or"),
        ({"kind": "point", "t": True, "x": 1, "y": 1}, "t is not a number"),
        ({"kind": "point", "t": 1, "points": [1, 2]}, "not a list of [x, y] pairs"),
        ("{not json", "not valid JSON"),
    ],
)
def test_a_wrong_mark_is_told_what_is_wrong(mark: str | Mapping[str, object], said: str) -> None:
    with pytest.raises(MarkError) as raised:
        parse_mark(mark)
    assert said in str(raised.value)


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_every_kind_is_drawn_on_the_frame_that_is_shown_then(kind: str, video: Video, tmp_path: Path) -> None:
    place = "points=0.3:0.3;0.6:0.3;0.45:0.6" if kind == "mask_contour" else "x=0.3,y=0.3,w=0.3,h=0.3"
    time_s = float(video.times[5]) + 0.01
    prompt = draw_mark(parse_mark(f"{kind}:t={time_s},{place}"), video, tmp_path / "marked.png", 30)
    assert prompt.time_s == video.times[5]
    assert prompt.kind == kind
    marked = np.asarray(Image.open(prompt.image))
    [frame] = video.frames_at([time_s], video.width * video.height, 1)
    changed = np.argwhere((marked != frame.pixels).any(axis=2))
    assert marked.shape == (video.height, video.width, 3)
    assert 0 < len(changed) < 0.7 * video.width * video.height


def test_fractions_and_pixels_mean_the_same_place(video: Video, tmp_path: Path) -> None:
    def drawn(name: str, x: float, y: float, w: float, h: float) -> bytes:
        mark = parse_mark(f"rectangle:t=1,x={x!r},y={y!r},w={w!r},h={h!r}")
        return Path(draw_mark(mark, video, tmp_path / name, 30).image).read_bytes()

    width, height = video.width, video.height
    fractions = drawn("a.png", 0.25, 0.25, 0.5, 0.25)
    assert fractions == drawn("b.png", width / 4, height / 4, width / 2, height / 4)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("point:t=999,x=1,y=2", "outside of the video, which ends at"),
        ("point:t=-1,x=1,y=2", "outside of the video"),
        ("point:t=1,x=4000,y=2", "outside of the frame, which is"),
        ("rectangle:t=1,x=0.9,y=0.9,w=0.5,h=0.5", "outside of the frame"),
        ("rectangle:t=1,x=-3,y=2,w=4,h=4", "outside of the frame"),
    ],
)
def test_a_mark_that_does_not_fit_the_video_is_told(mark: str, said: str, video: Video, tmp_path: Path) -> None:
    with pytest.raises(MarkError) as raised:
        draw_mark(parse_mark(mark), video, tmp_path / "marked.png", 30)
    assert said in str(raised.value)


def test_a_mark_before_a_film_that_starts_late_is_told(tmp_path: Path) -> None:
    late = open_video(movies.write(tmp_path / "late.mkv", range(40, 80)))
    for t in (0, 1, 4.8):
        with pytest.raises(MarkError, match=r"outside of the video, which begins at 5\.0 s and ends at 10\.0 s"):
            draw_mark(parse_mark(f"point:t={t},x=9,y=9"), late, tmp_path / "m.png", 30)
    assert draw_mark(parse_mark("point:t=5,x=9,y=9"), late, tmp_path / "m.png", 30).time_s == 5.0
