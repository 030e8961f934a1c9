"""Videos of a data set keep their own names."""

from pathlib import Path

import pytest

from synth.output.dataset import _names, _place


def test_no_two_videos_share_a_name() -> None:
    videos = {"/data/a/b.mp4", "/data/a-b.mp4", "/data/b.mp4"}
    assert _names(videos) == {"/data/a/b.mp4": "a/b.mp4", "/data/a-b.mp4": "a-b.mp4", "/data/b.mp4": "b.mp4"}
    assert _names({"/data/a/b.mp4"}) == {"/data/a/b.mp4": "b.mp4"}
    assert _names(set()) == {}


@pytest.mark.parametrize("suffix", ["", "#fps=6"])
def test_a_folder_of_frames_is_placed_as_one(tmp_path: Path, suffix: str) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    for i in range(3):
        (clip / f"{i}.jpg").write_bytes(bytes([i]))
    (clip / "labels.json").write_text("{}")
    to = tmp_path / "dataset" / "videos" / f"clip{suffix}"
    for _ in range(2):
        _place(Path(f"{clip}{suffix}"), to)
        assert {path.name: path.read_bytes() for path in to.iterdir()} == {f"{i}.jpg": bytes([i]) for i in range(3)}
