"""Videos of a data set keep their own names."""

from synth.output.dataset import _names


def test_no_two_videos_share_a_name() -> None:
    videos = {"/data/a/b.mp4", "/data/a-b.mp4", "/data/b.mp4"}
    assert _names(videos) == {"/data/a/b.mp4": "a/b.mp4", "/data/a-b.mp4": "a-b.mp4", "/data/b.mp4": "b.mp4"}
    assert _names({"/data/a/b.mp4"}) == {"/data/a/b.mp4": "b.mp4"}
    assert _names(set()) == {}
