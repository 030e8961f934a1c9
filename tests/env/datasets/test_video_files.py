"""Names of videos as data sets write them, and the files that people have."""

from pathlib import Path

import pytest

from env.datasets.rows import BadRow
from env.datasets.video_files import VideoFiles

FILES = ("Set/a.mp4", "b.MP4", "c.mkv", "Deep/Down/d.webm", "e.avi", "f.mp4", "F.MP4", "g.mov", "g.avi", "notes.txt")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for name in (*FILES, "frames/x/0001.jpg", "frames/x/0002.jpg", "frames/Y.clip/1.png", "empty/readme.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Set/a.mp4", "Set/a.mp4"),
        ("./Set/a.mp4", "Set/a.mp4"),
        ("Set\\a.mp4", "Set/a.mp4"),
        ("set/A.mp4", "Set/a.mp4"),
        ("SET\\A.MP4", "Set/a.mp4"),
        ("b.mp4", "b.MP4"),
        ("c.mp4", "c.mkv"),
        ("C.mp4", "c.mkv"),
        ("Deep\\down\\d.mp4", "Deep/Down/d.webm"),
        ("f.mp4", "f.mp4"),
        ("F.MP4", "F.MP4"),
        ("g.avi", "g.avi"),
        ("e", "e.avi"),
        ("frames/x", "frames/x"),
        ("frames/X", "frames/x"),
        ("frames\\x#fps=6", "frames/x#fps=6"),
        ("frames/y.clip", "frames/Y.clip"),
    ],
)
def test_a_file_is_found_by_what_a_row_calls_it(root: Path, name: str, found: str) -> None:
    assert VideoFiles(root).find(name) == str(root / found)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone.mp4", "is not under the video root"),
        ("Set/gone/a.mp4", "is not under the video root"),
        ("notes.mp4", "is not under the video root"),
        ("f.avi", "may be any of F.MP4, f.mp4"),
        ("G.mp4", "may be any of g.avi, g.mov"),
        ("../a.mp4", "climbs out of the video root"),
        ("Set\\..\\..\\a.mp4", "climbs out of the video root"),
        ("/etc/passwd", "has an absolute video path"),
        ("C:\\a.mp4", "has an absolute video path"),
        ("..#fps=5", "climbs out of the video root"),
        ("Set/../..#fps=5", "climbs out of the video root"),
        (".#fps=2", "has a video path that is none"),
        ("f.mp4#fps=6", "is not under the video root"),
        ("empty", "is not under the video root"),
        ("", "has a video path that is none"),
        ("a\0.mp4", "has a video path that is none"),
    ],
)
def test_what_is_not_there_or_may_be_several_is_told(root: Path, name: str, why: str) -> None:
    with pytest.raises(BadRow, match=why):
        VideoFiles(root).find(name)


def test_without_a_root_a_name_is_kept(tmp_path: Path) -> None:
    assert VideoFiles(None).find("Set\\a.mp4") == "Set/a.mp4"
