"""Lessons: trajectories that a policy is taught, in a folder of Arrow shards that are read as they are asked for.

Invariants: a lesson comes back as it was; a shard is whole or not there; what has been made of a folder that is not
complete yet is never taken for all of it. However many lessons there are, those that are asked for are in memory alone:
each is a batch of its own in its shard, so that one is read without its neighbours.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from env.trajectory import Trajectory, TrajectoryError
from env.transcript import Transcript
from storage.files import JsonObject, whole_file, write_text

_FRAME = [
    ("path", pa.string()),
    ("time_s", pa.float64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("region", pa.list_(pa.int32())),
]
_MEDIA = pa.struct([("frame", pa.struct(_FRAME)), ("start", pa.int32()), ("tokens", pa.int32())])
SCHEMA = pa.schema(
    [
        ("ids", pa.list_(pa.int32())),
        ("sampled", pa.list_(pa.bool_())),
        ("logprobs", pa.list_(pa.float64())),
        ("versions", pa.list_(pa.int32())),
        ("media", pa.list_(_MEDIA)),
        ("rest", pa.string()),
    ]
)
"""Columns of a shard: those of the transcript, and in `rest` the JSON of what else a trajectory holds."""
ASIDE, DIMENSIONS = b"set_aside", b"dimensions"
"""Keys of a shard's metadata: what was set aside, and the dimension of every lesson."""
COMPLETE = "lessons.json"
"""File that a folder is complete with: how many lessons each shard has, a digest of all, and what was set aside."""


def shard_file(folder: Path, index: int) -> Path:
    """Where a shard lies; it is there only when whole."""
    return folder / f"{index:06d}.arrow"


def write_shard(
    folder: Path, index: int, lessons: Iterable[Trajectory], set_aside: Sequence[tuple[str, str]] = ()
) -> None:
    """Write a shard, whole or not at all; `set_aside` are ids and reasons of tasks that no lesson could be made of."""
    lessons = list(lessons)
    about = {ASIDE: list(set_aside), DIMENSIONS: [lesson.dimension for lesson in lessons]}
    schema = SCHEMA.with_metadata({key: json.dumps(value).encode() for key, value in about.items()})
    folder.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(shard_file(folder, index), durable=True) as partial,
        pa.ipc.new_file(str(partial), schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as shard,
    ):
        for lesson in lessons:
            shard.write_batch(pa.RecordBatch.from_pylist([_row(lesson)], schema))


def complete(folder: Path, shards: int) -> None:
    """Note that a folder's shards, from 0, are all there is."""
    digest, counts, aside = hashlib.sha256(), [], []
    for index in range(shards):
        file = shard_file(folder, index)
        about = _about(file)
        digest.update(file.read_bytes())
        counts.append(len(about[DIMENSIONS]))
        aside += about[ASIDE]
    made = {"digest": digest.hexdigest()[:16], "set_aside": aside, "lessons": counts}
    write_text(folder / COMPLETE, json.dumps(made, indent=2) + "\n")


def is_complete(folder: Path) -> bool:
    """Whether all lessons of a folder were made."""
    return (folder / COMPLETE).exists()


def is_shard(folder: Path, index: int) -> bool:
    """Whether a shard is there, and is one."""
    try:
        return _about(shard_file(folder, index)).keys() == {ASIDE, DIMENSIONS}
    except (OSError, ValueError, pa.ArrowException):
        return False


def _about(file: Path) -> dict[bytes, list[Any]]:
    """The metadata of a shard."""
    with pa.memory_map(str(file)) as mapped:
        metadata = pa.ipc.open_file(mapped).schema.metadata or {}
    return {key: json.loads(metadata[key]) for key in (ASIDE, DIMENSIONS) if key in metadata}


def lessons_in(file: Path) -> int:
    """How many lessons a shard holds. Raises TrajectoryError: it is none."""
    with _opened(file) as shard:
        return int(shard.num_record_batches)


def lesson_in(file: Path, place: int) -> Trajectory:
    """One lesson of a shard, counted from 0. Raises TrajectoryError: it cannot be read."""
    with _opened(file) as shard:
        return _lesson(shard.get_batch(place).to_pylist()[0], file)


@contextmanager
def _opened(file: Path) -> Iterator[pa.RecordBatchFileReader]:
    try:
        with pa.memory_map(str(file)) as mapped:
            yield pa.ipc.open_file(mapped)
    except (OSError, pa.ArrowException) as error:
        raise TrajectoryError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None


class LessonSequence(Sequence[Trajectory]):
    """Lessons in parts, one part after the other."""

    _ends: list[int]
    """Lessons up to the end of each part."""
    digest: str
    """Hexadecimal digits that differ where the lessons do."""

    def kinds(self) -> list[str]:
        """The kind of every lesson."""
        raise NotImplementedError

    def _lesson_of(self, part: int, place: int) -> Trajectory:
        raise NotImplementedError

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trajectory]: ...
    def __getitem__(self, index: int | slice) -> Trajectory | list[Trajectory]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        part = bisect_right(self._ends, place)
        return self._lesson_of(part, place - self._begin(part))

    def _begin(self, part: int) -> int:
        return self._ends[part - 1] if part else 0


class Lessons(LessonSequence):
    """The lessons of a complete folder, in the order of their tasks; its parts are its shards."""

    def __init__(self, folder: str | Path, kind: str | None = None) -> None:
        """Raises TrajectoryError where the folder is not there, or not complete.

        Args:
            kind: what all of its lessons are; None where each has a kind of its own.
        """
        self._folder = Path(folder)
        self._kind = kind
        try:
            made = json.loads((self._folder / COMPLETE).read_text())
            self._ends = list(accumulate(made["lessons"]))
            self.digest = made["digest"]
            self.set_aside: list[tuple[str, str]] = [(task, reason) for task, reason in made["set_aside"]]
            """Ids of tasks that no lesson could be made of, each with the reason."""
        except OSError as error:
            raise TrajectoryError(f"{folder}: holds no complete set of lessons ({error.strerror})") from None
        except (ValueError, TypeError, KeyError):
            raise TrajectoryError(
                f"{self._folder / COMPLETE}: is damaged; remove {folder} to have it made anew"
            ) from None

    def kinds(self) -> list[str]:
        """The kind of every lesson: its dimension, where they have no kind in common."""
        if self._kind is not None:
            return [self._kind] * len(self)
        shards = (_about(shard_file(self._folder, index)) for index in range(len(self._ends)))
        return [dimension for about in shards for dimension in about[DIMENSIONS]]

    def _lesson_of(self, part: int, place: int) -> Trajectory:
        file, expected = shard_file(self._folder, part), self._ends[part] - self._begin(part)
        with _opened(file) as shard:
            if shard.num_record_batches != expected:
                raise TrajectoryError(f"{file}: holds {shard.num_record_batches} lessons instead of {expected}")
            return _lesson(shard.get_batch(place).to_pylist()[0], file)


class JoinedLessons(LessonSequence):
    """Lessons of several folders, one folder after the other."""

    def __init__(self, *parts: Lessons) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))
        self.digest = "-".join(part.digest for part in parts)

    def kinds(self) -> list[str]:
        """See `LessonSequence`."""
        return [kind for part in self._parts for kind in part.kinds()]

    def _lesson_of(self, part: int, place: int) -> Trajectory:
        return self._parts[part][place]


def load_lesson(folder: str | Path, index: int) -> Trajectory:
    """One lesson, counted from 0; a negative index counts from the end. Raises TrajectoryError: none such."""
    lessons = Lessons(folder)
    if not -len(lessons) <= index < len(lessons):
        raise TrajectoryError(f"{folder}: has no episode {index}; it holds {len(lessons)}")
    return lessons[index]


def _row(lesson: Trajectory) -> JsonObject:
    transcript, rest = lesson.transcript, replace(lesson, transcript=Transcript()).to_dict()
    del rest["transcript"]
    return {**vars(transcript), "media": [asdict(media) for media in transcript.media], "rest": json.dumps(rest)}


def _lesson(row: JsonObject, file: Path) -> Trajectory:
    try:
        return Trajectory.from_dict({**json.loads(row.pop("rest")), "transcript": row})
    except (ValueError, TypeError, KeyError) as error:
        raise TrajectoryError(f"{file}: holds no lesson ({type(error).__name__}: {error})") from None
