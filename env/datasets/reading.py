"""A published benchmark in a folder of people's, as tasks.

Invariants: every row is a task, or is listed with its place and what is wrong with it, or with the files that it lacks;
nothing of it is left out without being told. A task's id is the benchmark's own, so that answers of others can be
scored; only ids that come several times get what tells them apart.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from env.datasets.benchmarks import Benchmark, benchmark_of
from env.datasets.question import Question, checked, digest
from env.datasets.regions import draw_region
from env.datasets.rows import BadRow, SourceError, source_rows
from env.datasets.video_files import NOT_THERE, VideoFiles
from env.subtitles import read_subtitles
from env.task import Task, TaskError
from tools.decoding.frame import VideoError
from tools.decoding.frame_folder import split_rate
from tools.marks.visual_prompt import VisualPrompt

LFS_POINTER = b"version https://git-lfs"
"""What a file begins with that Git has not fetched yet."""


@dataclass(frozen=True)
class BenchmarkTasks:
    """What a folder holds of a benchmark."""

    name: str
    """What its authors call it."""
    tasks: tuple[Task, ...]
    """In the order of the rows."""
    bad: tuple[tuple[str, str], ...]
    """Place of each row that cannot be read, and a clause that says why."""
    missing: tuple[tuple[str, str], ...]
    """Place of each row whose film or picture is not there, and that file's name."""
    without_subtitles: int = 0
    """Questions whose subtitles were asked for and are not there."""

    def files_missing(self) -> list[str]:
        """Names of the files that are not there, each once."""
        return sorted({name for _, name in self.missing})

    def summary(self) -> str:
        """One sentence of what is there."""
        films = len({task.video for task in self.tasks})
        lacks = f", {len(self.missing)} lack a file" if self.missing else ""
        bad = f", {len(self.bad)} cannot be read" if self.bad else ""
        silent = f", {self.without_subtitles} without their subtitles" if self.without_subtitles else ""
        return f"{self.name}: {len(self.tasks)} questions about {films} films can be played{silent}{lacks}{bad}"


def read_benchmark(
    name: str,
    folder: str | Path,
    marks: Path | None = None,
    kind: str = "mask_contour",
    subtitles: bool = False,
    *,
    need_files: bool = True,
) -> BenchmarkTasks:
    """The tasks of a benchmark.

    Args:
        name: of the benchmark, as its authors or `BENCHMARKS` write it.
        folder: that of the benchmark, or its file of questions.
        marks: folder for the pictures on which targets are marked that come as masks; None writes none, for a look at
            what is there.
        kind: the mark that is drawn there, one of `configs.world.PROMPT_KINDS`.
        subtitles: whether the tasks have them, so that a file of them that cannot be read costs its row.
        need_files: whether a question whose film or picture is not there is missing; else it has the file's name.

    Raises:
        SourceError: no such benchmark or folder, no file of questions in it, or one of another benchmark.
    """
    benchmark, folder = benchmark_of(name), Path(folder).absolute()
    films = _Files(folder.parent if folder.is_file() else folder, need_files)
    reading = _Reading(benchmark, films, marks, kind, subtitles)
    rows, others = list[_Found](), list[SourceError]()
    files = _question_files(benchmark, folder)
    for file in files:
        try:
            rows += reading.rows(file)
        except OtherFileError as error:
            others.append(error)
    if len(others) == len(files):
        raise others[0]
    missing, silent = tuple(reading.missing), reading.without_subtitles if subtitles else 0
    return BenchmarkTasks(benchmark.name, tuple(_named(rows)), tuple(reading.bad), missing, silent)


@dataclass(frozen=True)
class _Found:
    """A row's task, still without a name."""

    task: Task
    digest: str


class _Reading:
    def __init__(self, benchmark: Benchmark, files: "_Files", marks: Path | None, kind: str, subtitles: bool) -> None:
        self._benchmark, self._files, self._subtitles = benchmark, files, subtitles
        self._marks, self._kind = marks, kind
        self.bad: list[tuple[str, str]] = []
        self.missing: list[tuple[str, str]] = []
        self.without_subtitles = 0

    def rows(self, file: Path) -> Iterator[_Found]:
        """The tasks of a file. Raises OtherFileError: its rows are of another benchmark."""
        known = False
        for where, values in source_rows(file):
            if isinstance(values, BadRow):
                self.bad.append((where, str(values)))
                continue
            if not known and not self._benchmark.keys <= values.keys():
                lacks = ", ".join(f"'{key}'" for key in sorted(self._benchmark.keys - values.keys()))
                raise OtherFileError(f"{where} is no row of {self._benchmark.name}: it lacks {lacks}")
            known = True
            try:
                for asked in self._benchmark.read(values):
                    if isinstance(asked, BadRow):
                        raise asked
                    yield self._task(checked(asked))
            except (BadRow, TaskError, VideoError) as reason:
                self.bad.append((where, str(reason)))
            except MissingFileError as file_name:
                self.missing.append((where, str(file_name)))
            except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
                self.bad.append((where, f"has values that cannot be read ({type(error).__name__})"))

    def _task(self, asked: Question) -> _Found:
        video = self._files.find(asked.video)
        marked = [VisualPrompt(self._files.find(name), None) for name in asked.marked]
        key = digest(asked.video, asked.question, asked.options)
        for i, region in enumerate(asked.regions, 1):
            out = None if self._marks is None else self._marks / f"{key}-{i}-{self._kind}.png"
            marked.append(draw_region(video, region, self._kind, out))
        subtitles = self._files.find_some(asked.subtitles) if asked.subtitles and self._subtitles else ""
        if subtitles:
            read_subtitles(subtitles, asked.subtitles_from_s)
        elif asked.subtitles:
            self.without_subtitles += 1
        task = Task(
            id=asked.id or key,
            video=video,
            question=asked.question,
            answer=asked.answer,
            dimension=asked.dimension,
            visual_prompts=tuple(marked),
            form="open" if asked.options is None else "choice",
            options=asked.options,
            source=asked.source,
            subtitles=subtitles,
            subtitles_from_s=asked.subtitles_from_s if subtitles else 0.0,
            labels=dict(asked.labels),
        )
        return _Found(task, key)


class MissingFileError(Exception):
    """A file that is not there, or not yet; the message is its name."""


class OtherFileError(SourceError):
    """A file of something else."""


class _Files:
    """The files of a benchmark's folder, by the names that its rows give them: relative to it, or to one of the folders
    in it."""

    def __init__(self, folder: Path, needed: bool = True) -> None:
        """`needed`: a file that is not there is an error; else its name stands for it."""
        self._needed = needed
        if not folder.is_dir():
            raise SourceError(f"{folder}: no such folder; name the one that the benchmark was unpacked in")
        self._roots = [VideoFiles(root) for root in _folders(folder)]

    def find(self, name: str) -> str:
        """The path of a file or a folder of pictures. Raises MissingFileError: it is not there; BadRow: it is no name
        of one, or may be any of several."""
        for root in self._roots:
            try:
                found = root.find(name)
                if _is_whole(found):
                    return found
            except BadRow as reason:
                if str(reason) != NOT_THERE:
                    raise
        if not self._needed:
            return name
        raise MissingFileError(name)

    def find_some(self, name: str) -> str:
        """The same; empty where it is not there."""
        try:
            return self.find(name)
        except MissingFileError:
            return ""


def _is_whole(path: str) -> bool:
    """Whether a file is more than the place that a download holds for it: empty, or a pointer of Git LFS."""
    if os.path.isdir(split_rate(path)[0]):
        return True
    with open(path, "rb") as file:
        head = file.read(len(LFS_POINTER))
    return bool(head) and head != LFS_POINTER


def _folders(folder: Path) -> list[Path]:
    """The folder, and those that are in it; hidden ones are of no use."""
    below = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [folder, *sorted(below)]


def _question_files(benchmark: Benchmark, folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    for pattern in benchmark.files:
        if files := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return files
    looked = ", ".join(benchmark.files)
    raise SourceError(f"{folder}: holds no file of questions of {benchmark.name}; looked for {looked}")


def _named(rows: list[_Found]) -> Iterator[Task]:
    """The tasks, each with a name of its own."""
    own = Counter(row.task.id for row in rows)
    taken: Counter[str] = Counter()
    for row in rows:
        name = row.task.id if own[row.task.id] == 1 else f"{row.task.id}-{row.digest}"
        taken[name] += 1
        if taken[name] > 1:
            name = f"{name}-{taken[name]}"
        yield dataclasses.replace(row.task, id=name)
