"""Subtitles as films come with them."""

import json
import math
from pathlib import Path

import pytest

from env.subtitles import Line, lines_at, read_subtitles, within
from tools.decoding.frame import VideoError


def read(tmp_path: Path, text: str, from_s: float = 0.0) -> list[tuple[float, float, str]]:
    file = tmp_path / f"{abs(hash(text))}.srt"
    file.write_bytes(text.encode("utf-8"))
    return [(line.start_s, line.end_s, line.text) for line in read_subtitles(str(file), from_s)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n00:00:01,500 --> 00:00:02,000\na\nb\n", [(1.5, 2.0, "a b")]),
        ("\ufeff1\r\n00:00:01,500 --> 00:00:02,000\r\n<b>a</b>\r\n\r\n", [(1.5, 2.0, "a")]),
        ("WEBVTT\n\nNOTE x\n\n00:01.000 --> 01:00:02.500 align:start\nc\n", [(1.0, 3602.5, "c")]),
        (
            "1\n00:00:05,0 --> 00:00:06,0\nlate\n\n2\n00:00:01,0 --> 00:00:02,0\nsoon\n",
            [(1, 2, "soon"), (5, 6, "late")],
        ),
        ("1\n00:00:01,0 --> 00:00:02,0\n<i></i>\n", []),
        (json.dumps([{"start": "00:00:01", "end": "00:00:02.25", "line": "x"}]), [(1.0, 2.25, "x")]),
        (
            json.dumps([{"timestamp": [1.0, None], "text": "x"}, {"timestamp": [4, 5], "text": "y"}]),
            [(1, 4, "x"), (4, 5, "y")],
        ),
        (json.dumps([{"timestamp": [None, None], "text": "x"}]), []),
        (json.dumps([]), []),
        ("", []),
    ],
)
def test_every_form_is_read(text: str, expected: list[tuple[float, float, str]], tmp_path: Path) -> None:
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize("text", ["what is this", "[1]", '[{"start": "x", "end": "y", "line": "z"}]', "{"])
def test_what_is_none_is_told_with_its_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"\.srt: subtitles cannot be read"):
        read(tmp_path, text)
    with pytest.raises(VideoError, match="cannot be read"):
        read_subtitles(str(tmp_path / "none.srt"))


def test_a_part_of_a_film_has_its_own_lines(tmp_path: Path) -> None:
    text = "1\n00:00:01,0 --> 00:00:02,0\nbefore\n\n2\n00:01:39,0 --> 00:01:41,0\nover it\n"
    assert read(tmp_path, text, 100.0) == [(-1.0, 1.0, "over it")]
    assert str(Line(-1.0, 1.0, "over it")) == "0.0 s: over it"


def test_lines_are_those_on_show_and_as_many_as_fit() -> None:
    lines = [Line(float(i), i + 0.5, f"line {i}") for i in range(10)]
    assert lines_at(lines, [0.25, 3.5, 3.75]) == [lines[0], lines[3]]
    assert lines_at([Line(2.0, math.inf, "on")], [9.0])
    assert within(lines, 10_000) == lines
    kept = within(lines, 60)
    assert 1 < len(kept) < 10
    assert sum(len(str(line)) + 1 for line in kept) <= 60
    assert kept == lines[:: 10 // len(kept) + (10 % len(kept) > 0)]
    assert within(lines, 3) == []
