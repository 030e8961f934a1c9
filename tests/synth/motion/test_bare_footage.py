"""A folder of bare videos with no model at all: real clips, films whose truth is known, files that are no videos."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from env.task import load_tasks
from synth.motion.segmenter import measure_tracks
from synth.pipeline.shards import read_records
from synth.world.question import TARGETS
from tests.films.clips import real_clips
from tests.films.moving_shapes import random_film
from tests.servers.processes import Family, family
from tests.synth.motion.test_track_questions import wrong_answers
from tools.decoding.video import open_video
from tools.marks.rle import decode

FILMS = {f"film{seed}.mp4": random_film(seed) for seed in range(2)}
UNREADABLE = {"cut.mp4", "text.mp4", "audio.mp4", "scrambled.mp4"}
NOT_THERE = {"empty.mp4", "gone.mp4"}


def write_bad_files(folder: Path) -> None:
    """What lies in folders of videos and is none."""
    whole = (folder / "film0.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_bytes(b"not a video")
    (folder / "empty.mp4").touch()
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "folder.mp4").mkdir()
    # The index is whole, the pictures are not.
    pictures, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    assert pictures < end
    noise = np.random.default_rng(0).integers(0, 256, end - pictures, np.uint8).tobytes()
    (folder / "scrambled.mp4").write_bytes(whole[:pictures] + noise + whole[end:])
    with av.open(str(folder / "audio.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        for i in range(30):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.rate, sound.pts = 16000, i * 1024
            output.mux(stream.encode(sound))
        output.mux(stream.encode())


@pytest.fixture(scope="module")
def members() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    with family(folder) as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def data(members: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    clips = folder / "clips"
    clips.mkdir()
    for name, film in FILMS.items():
        film.write(clips / name)
    for name, path in real_clips().items():
        shutil.copy(path, clips / name)
    write_bad_files(clips)
    overrides = f"synth.source={clips}", "synth.segmenter=motion", "name=bare", "synth.test_fraction=0"
    done = members.run("videoseeker.py", "synth", f"runs_dir={folder}", "synth.cpus_per_worker=0.2", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bare" / "data"


@pytest.mark.slow
def test_tasks_come_of_the_films_alone_and_each_is_right(data: Path) -> None:
    tasks = load_tasks(data / "train.jsonl")
    assert len(tasks) >= 4
    assert {Path(task.video).name for task in tasks} == set(FILMS)
    assert all(TARGETS[task.visual_prompts[0].kind].lower() in task.question.lower() for task in tasks)
    records = [r for path in sorted((data / "stages" / "mark").glob("*.jsonl")) for r in read_records(path) if r.marked]
    for name, film in FILMS.items():
        of_film = [record for record in records if record.video.endswith(name)]
        assert wrong_answers(film, of_film, measure_tracks(of_film[0].video)) == []
        for record in of_film:
            assert record.target is not None
            assert record.marked is not None
            assert 0 <= record.target.start_s < record.target.end_s <= open_video(record.video).duration_s
            [mask] = [mask for mask in record.masks if mask.time_s == record.marked.time_s]
            found = decode(mask.rle)
            seen = [film.seen(i, mask.time_s) for i in range(len(film.shapes))]
            assert max((found & one).sum() / (found | one).sum() for one in seen) > 0.7


@pytest.mark.slow
def test_every_other_file_is_set_aside_with_a_reason_that_can_be_counted(data: Path) -> None:
    rejected = {Path(record.video).name: record for record in read_records(data / "rejected.jsonl")}
    moving = set(real_clips())
    assert set(rejected) == moving | UNREADABLE
    assert {rejected[name].reason for name in moving} <= {"set aside: the camera moves"}
    assert {rejected[name].reason for name in UNREADABLE} == {"set aside: the video cannot be read"}
    assert all(record.rejected_by == "question" and name in record.detail for name, record in rejected.items())
    bad = (data / "bad_rows.jsonl").read_text()
    assert all(name in bad for name in NOT_THERE)
    sheet = (data / "dataset" / "README.md").read_text()
    assert f"set aside: the video cannot be read {len(UNREADABLE)}" in sheet
    assert str(data.parent) not in sheet


@pytest.mark.slow
def test_the_page_shows_them(members: Family, data: Path) -> None:
    shown = members.run("videoseeker.py", "synth", "inspect", str(data))
    assert shown.returncode == 0, shown.stderr
    page = (data / "gallery.html").read_text()
    assert page.count("<article") == min(24, len(load_tasks(data / "train.jsonl")))
    assert "set aside: the video cannot be read" in page
