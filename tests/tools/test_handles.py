"""Stretches and boxes as calls name them: whatever the numbers, what comes out lies inside the video or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.decoding.video import open_video
from tools.errors import ToolError
from tools.handles import stretch_of
from tools.zoom_region import region_of

numbers = st.floats(-2000, 2000) | st.floats(allow_nan=False, allow_infinity=False)


@given(start_s=numbers, end_s=numbers)
def test_a_stretch_lies_in_the_video_or_is_refused(films: dict[str, str], start_s: float, end_s: float) -> None:
    video = open_video(films["late"])  # from 5.0 s to 17.5 s
    asked = 0 <= start_s < end_s and start_s < 17.5 and end_s > 5.0
    if not asked:
        with pytest.raises(ToolError, match=r"(start|end)_time"):
            stretch_of(video, start_s, end_s)
        return
    stretch = stretch_of(video, start_s, end_s)
    assert 5.0 <= stretch.start_s < stretch.end_s <= 17.5
    assert bool(stretch.note) == (start_s < 5.0 or end_s > 17.55)
    assert (stretch.start_s, stretch.end_s) == (max(start_s, 5.0), min(end_s, 17.5))


def test_the_end_that_is_told_is_one_that_works(films: dict[str, str]) -> None:
    video = open_video(films["uneven"])
    with pytest.raises(ToolError, match=r"the video ends at ([\d.]+) s") as refused:
        stretch_of(video, video.duration_s + 1, video.duration_s + 2)
    told = float(str(refused.value).split("ends at ")[1].split(" s")[0])
    assert 0 <= video.duration_s - told < 0.1 + 1e-9


@given(box=st.lists(numbers, max_size=6))
def test_a_region_lies_in_the_frame_or_is_refused(films: dict[str, str], box: list[float]) -> None:
    video = open_video(films["even"])
    if len(box) != 4 or not (box[0] < box[2] > 0 and box[1] < box[3] > 0 and box[0] < 1000 > box[1]):
        with pytest.raises(ToolError, match=r"^box "):
            region_of(video, box)
        return
    (left, top, right, bottom), note = region_of(video, box)
    assert 0 <= left < right <= video.width
    assert 0 <= top < bottom <= video.height
    assert bool(note) == (min(box) < 0 or max(box) > 1000)
    # Nothing of what was asked for is left out.
    for asked, edge, side in zip(box, (left, top, right, bottom), (video.width, video.height) * 2, strict=True):
        inside = min(max(asked, 0), 1000) * side / 1000
        assert abs(edge - inside) <= 1 + 1e-6
