"""What each further tool gives, and what it says to a call that asks too much or makes no sense."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.films import movies, walk
from tests.tools.test_registry import LIMITS, frames, text
from tools.decoding.frame import Frame
from tools.decoding.video import read_frame
from tools.errors import ToolError
from tools.marks.drawing import draw
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import TOOLS, call, cost_of
from tools.scene import Scene


@pytest.fixture(scope="module")
def numbered(films: dict[str, str]) -> Scene:
    return Scene(films["even"], ())


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("walked")
    corner = walk.place(2.0)
    assert corner is not None
    marked, geometry = draw(walk.picture(2.0), "ellipse", box=(*corner, walk.SIDE, walk.SIDE))
    Image.fromarray(marked).save(folder / "mark.png")
    return Scene(walk.write(folder / "walk.mp4"), (VisualPrompt(str(folder / "mark.png"), 2.0, "ellipse", geometry),))


def run(scene: Scene, name: str, **arguments: Any) -> tuple[str | Frame, ...]:
    return call(name, arguments, list(TOOLS), scene, LIMITS)


def test_single_frames_come_in_order_each_once_with_their_own_times(numbered: Scene) -> None:
    content = run(numbered, "view_frames", times=[7.3, 2, 2.01])
    assert text(content) == "frames: 2.0 s [frame]7.2 s [frame]"
    assert [movies.number(frame.pixels) for frame in frames(content)] == [16, 58]


def test_too_many_times_and_times_past_the_end_are_said(numbered: Scene) -> None:
    content = run(numbered, "view_frames", times=[1, 2, 3, 4, 5, 6])
    assert text(content).startswith("frames (only the first 4 of 6 times; a call gives no more): 1.0 s ")
    content = run(numbered, "view_frames", times=[1, 500])
    assert text(content) == "frames (the video ends at 20.0 s): 1.0 s [frame]19.9 s [frame]"


def test_a_part_of_a_frame_is_shown_at_native_resolution(walked: Scene) -> None:
    corner = walk.place(3.0)
    assert corner is not None
    x, y = corner
    left, top = x / walk.WIDTH * 1000, y / walk.HEIGHT * 1000
    right, bottom = (x + walk.SIDE) / walk.WIDTH * 1000, (y + walk.SIDE) / walk.HEIGHT * 1000
    content = run(walked, "zoom_region", time=3, box=[left, top, right, bottom])
    assert re.fullmatch(r"part \[\d+, \d+, \d+, \d+\] of the frame at 3\.0 s: \[frame\]", text(content))
    [frame] = frames(content)
    assert frame.pixels.shape == (32, 32, 3)
    assert np.abs(frame.pixels[16, 16].astype(int) - (240, 220, 60)).max() < 40
    assert np.abs(frame.pixels[4, 16].astype(int) - (220, 60, 40)).max() < 40
    assert np.array_equal(read_frame(frame.ref), frame.pixels)


def test_a_part_past_the_edge_or_the_end_is_cut_and_said(walked: Scene) -> None:
    content = run(walked, "zoom_region", time=99, box=[500, -50, 1200, 500])
    assert text(content).startswith(
        "part [500, 0, 1000, 500] of the frame at 11.9 s (coordinates go from 0 to 1000) (the"
    )


def test_following_tells_when_the_target_is_in_sight_and_where(walked: Scene) -> None:
    first, *lines = text(run(walked, "track_instance", start_time=1.0, end_time=9.0)).split("\n")
    stretches = [float(number) for number in re.findall(r"([\d.]+) s to", first)]
    ends = [float(number) for number in re.findall(r"to ([\d.]+) s", first)]
    assert first.startswith("the target from 1.0 s to 9.0 s is in sight: ")
    assert np.allclose([stretches[1], ends[1], stretches[2], ends[2]], [1.0, *walk.AWAY, 9.0], atol=0.35)
    assert len(lines) == 6
    for line in lines:
        read = re.fullmatch(r"([\d.]+) s \[(.*)\]", line)
        assert read is not None
        time_s, box = read.groups()
        left, top, right, bottom = (float(v) / 1000 * s for v, s in zip(box.split(","), [320, 200] * 2, strict=True))
        assert walk.overlap((left, top, right - left, bottom - top), float(time_s)) > 0.4


def test_following_for_too_long_is_cut_and_said(walked: Scene) -> None:
    told = text(run(walked, "track_instance", start_time=0, end_time=11.5))
    assert told.startswith("the target from 0.0 s to 10.0 s (a call follows for at most 10 s) is in sight: ")


def test_a_slow_video_is_followed_frame_by_frame(walked: Scene, tmp_path: Path) -> None:
    slow = movies.write_pictures(tmp_path / "slow.mp4", [walk.picture(float(t)) for t in range(5)], rate=1)
    scene = dataclasses.replace(walked, video_path=slow)
    assert text(run(scene, "track_instance", start_time=2.5, end_time=4.6)).startswith(
        "the target from 2.5 s to 4.6 s is in sight: 2.5 s to 4.6 s"
    )
    assert "in sight: 3.2 s to 3.8 s" in text(run(scene, "track_instance", start_time=3.2, end_time=3.8))


def test_finding_tells_the_stretches_with_their_likeness(walked: Scene) -> None:
    found = text(run(walked, "find_instance"))
    stretches = [tuple(map(float, m)) for m in re.findall(r"([\d.]+) s to ([\d.]+) s \(([\d.]+)\)", found)]
    assert found.startswith("the target or its like (one look each 1.0 s): ")
    assert [s[:2] for s in stretches] == [pytest.approx((0.0, 5.0), abs=1.01), pytest.approx((7.0, 12.0), abs=1.01)]
    assert all(0.6 <= likeness <= 1.0 for *_, likeness in stretches)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("view_frames", {"times": []}, "times must name at least one time"),
        ("view_frames", {"times": 3}, "times must be a list of numbers such as [1.5, 2], not 3"),
        ("view_frames", {"times": [1, "2"]}, "times[1] must be a plain number such as 12.5, not '2'"),
        ("zoom_region", {"time": 1, "box": [1, 2, 3]}, "box must be [left, top, right, bottom]"),
        ("zoom_region", {"time": 1, "box": [500, 0, 400, 9]}, "left < right and top < bottom, not [500, 0, 400, 9]"),
        ("zoom_region", {"time": 1, "box": [1000, 0, 2000, 9]}, "box lies outside of the frame"),
        ("track_instance", {"start_time": 3, "end_time": 2}, "start_time (3) must be less than end_time (2)"),
        ("track_instance", {"start_time": 0, "end_time": 2, "frame": "frame_2"}, "the marked frames are frame_1"),
        ("find_instance", {"frame": "../x"}, "there is no frame '../x'"),
    ],
)
def test_a_call_that_makes_no_sense_is_told_what_would(
    walked: Scene, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        call(name, arguments, list(TOOLS), walked, LIMITS, strict=True)


def test_a_tool_has_its_cost() -> None:
    assert [cost_of(name) for name in ("crop_video", "track_instance", "no such tool")] == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("name", "arguments"), [("track_instance", {"start_time": 1, "end_time": 9}), ("find_instance", {})]
)
def test_looking_for_too_long_is_an_error_for_the_caller(
    walked: Scene, name: str, arguments: dict[str, int], fresh: None
) -> None:
    hurried = dataclasses.replace(LIMITS, timeout_s=1e-3)
    with pytest.raises(ToolError, match=r"took longer than 0\.001 s; ask for less"):
        call(name, arguments, list(TOOLS), walked, hurried)
