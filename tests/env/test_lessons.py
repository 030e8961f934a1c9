"""Lessons in a folder of Arrow shards."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env.lessons import JoinedLessons, Lessons, complete, is_complete, is_shard, load_lesson, shard_file, write_shard
from env.trajectory import Trajectory, TrajectoryError
from env.transcript import Media, Segment, Transcript, Turn
from tests.films.sample_episode import make_episode
from tools.decoding.frame import FrameRef

FRAMES = st.builds(
    FrameRef,
    st.text(min_size=1),
    st.none() | st.floats(0, 1e5),
    st.integers(1, 8192),
    st.integers(1, 8192),
    st.none() | st.tuples(*[st.integers(0, 8192)] * 4),
)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    transcript = Transcript()
    for _ in range(draw(st.integers(0, 3))):
        ids = draw(st.lists(st.integers(0, 2**31 - 1), max_size=9).map(tuple))
        media = draw(st.lists(st.builds(Media, FRAMES, st.integers(0, 9), st.integers(1, 9)), max_size=2).map(tuple))
        transcript.append_prompt(Segment(ids, media))
        logprobs = tuple(draw(st.floats(-80, 0)) for _ in ids)
        transcript.append_turn(Turn(ids, logprobs, "a", "stop", draw(st.integers(0, 10**6))))
    return transcript


@settings(max_examples=40)
@given(st.lists(st.lists(transcripts(), max_size=3), max_size=4))
def test_lessons_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[Transcript]]
) -> None:
    folder = tmp_path_factory.mktemp("lessons")
    like = make_episode(folder, "task")
    made = [[dataclasses.replace(like, transcript=each) for each in shard] for shard in shards]
    for index, shard in enumerate(made):
        write_shard(folder, index, shard)
    complete(folder, len(made))
    every = [lesson for shard in made for lesson in shard]
    lessons = Lessons(folder)
    assert len(lessons) == len(every)
    assert list(lessons) == every
    assert lessons[::-2] == every[::-2]
    assert [lessons[i] for i in range(-len(every), 0)] == every


def episodes(folder: Path, count: int) -> list[Trajectory]:
    return [make_episode(folder, f"task-{i}") for i in range(count)]


def test_a_folder_is_complete_when_it_says_so_and_not_before(tmp_path: Path) -> None:
    folder = tmp_path / "lessons"
    write_shard(folder, 0, episodes(tmp_path, 2), [("task-7", "VideoError: gone")])
    write_shard(folder, 1, [])
    assert not is_complete(folder)
    with pytest.raises(TrajectoryError, match="holds no complete set of lessons"):
        Lessons(folder)
    complete(folder, 2)
    assert is_complete(folder)
    assert Lessons(folder).set_aside == [("task-7", "VideoError: gone")]
    with pytest.raises(IndexError):
        Lessons(folder)[2]


def test_the_digest_is_that_of_the_lessons(tmp_path: Path) -> None:
    digests = []
    for name, made in {"a": episodes(tmp_path, 2), "b": episodes(tmp_path, 2), "c": episodes(tmp_path, 3)}.items():
        write_shard(tmp_path / name, 0, made)
        complete(tmp_path / name, 1)
        digests.append(Lessons(tmp_path / name).digest)
    assert digests[0] == digests[1] != digests[2]


def test_joined_folders_are_read_one_after_the_other(tmp_path: Path) -> None:
    parts = {"teacher": episodes(tmp_path, 3), "none": [], "captions": episodes(tmp_path, 2)}
    for name, made in parts.items():
        write_shard(tmp_path / name, 0, made)
        complete(tmp_path / name, 1)
    teacher, none, captions = (
        Lessons(tmp_path / "teacher", "episode"),
        *(Lessons(tmp_path / n) for n in list(parts)[1:]),
    )
    joined, every = JoinedLessons(teacher, none, captions), [*parts["teacher"], *parts["captions"]]
    assert len(joined) == 5
    assert list(joined) == joined[:] == [joined[i] for i in range(-5, 0)] == every
    assert joined.kinds() == ["episode"] * 3 + [lesson.dimension for lesson in parts["captions"]]
    assert joined.digest != JoinedLessons(captions, none, teacher).digest != teacher.digest
    with pytest.raises(IndexError):
        joined[5]


def test_a_shard_that_is_lost_or_broken_is_named(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, episodes(tmp_path, 1))
    complete(tmp_path, 1)
    lessons = Lessons(tmp_path)
    shard_file(tmp_path, 0).write_bytes(b"PAR1 and nothing")
    assert not is_shard(tmp_path, 0)
    with pytest.raises(TrajectoryError, match=r"000000\.arrow: cannot be read"):
        lessons[0]
    other = pa.table({"a": [1]})
    with pa.ipc.new_file(str(shard_file(tmp_path, 0)), other.schema) as shard:
        shard.write_table(other)
    assert not is_shard(tmp_path, 0)
    with pytest.raises(TrajectoryError, match=r"000000\.arrow: "):
        lessons[0]
    shard_file(tmp_path, 0).unlink()
    with pytest.raises(TrajectoryError, match=r"000000\.arrow: cannot be read"):
        lessons[0]


def test_a_shard_of_fewer_lessons_gives_no_other_one(tmp_path: Path) -> None:
    for index in range(2):
        write_shard(tmp_path, index, episodes(tmp_path, 2))
    complete(tmp_path, 2)
    lessons = Lessons(tmp_path)
    write_shard(tmp_path, 1, episodes(tmp_path, 1))
    for index in (2, 3):
        with pytest.raises(TrajectoryError, match=r"000001\.arrow: holds 1 lessons instead of 2"):
            lessons[index]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"digest": 1, "lessons": 3, "set_aside": []}', "\ufeff{}", "null"])
def test_a_damaged_list_of_lessons_is_said(tmp_path: Path, text: str) -> None:
    write_shard(tmp_path, 0, episodes(tmp_path, 1))
    (tmp_path / "lessons.json").write_text(text)
    with pytest.raises(TrajectoryError, match="is damaged; remove"):
        Lessons(tmp_path)


@pytest.mark.parametrize("index", [2, -3, 99])
def test_a_lesson_that_is_none_is_said(tmp_path: Path, index: int) -> None:
    write_shard(tmp_path, 0, episodes(tmp_path, 2))
    complete(tmp_path, 1)
    assert load_lesson(tmp_path, -2) == load_lesson(tmp_path, 0)
    with pytest.raises(TrajectoryError, match=f"has no episode {index}; it holds 2"):
        load_lesson(tmp_path, index)
