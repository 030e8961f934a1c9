"""Sources of the synthesis: questions of public data sets, of the user's own files, or bare footage, as records.

Invariants: a record that comes out of here can be used (its question, options and answer agree, its video lies under
the video root); a row that cannot be is reported with its place and never stops the reading; an id is a function of the
source's own id and of what is asked, so it is the same at every reading and unlike that of any other question.
"""

import filecmp
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

from env.datasets.question import Question, Reader, checked, digest, file_name
from env.datasets.rows import BadRow, Row, SourceError, source_rows
from env.datasets.video_files import VideoFiles
from storage.files import JsonObject
from synth.record import Record
from synth.sources.formats import format_of, recognise
from tools.decoding.frame import VIDEO_SUFFIXES
from tools.decoding.frame_folder import is_frame_folder

logger = logging.getLogger(__name__)
OnBad = Callable[[str, str], None]
"""Called for a row that cannot be used, with its place and a clause that says why."""
LLAVA_FILES = "*_qa_processed.json"
"""Files of questions in LLaVA-Video-178K; each lies in the folder that its videos are unpacked in."""
LOOKED_AT = 20
"""Rows looked at to tell a file's kind; the first of them may be bad."""


def _log(where: str, reason: str) -> None:
    logger.warning("%s: %s", where, reason)


def read_source(
    path: str | Path, video_root: str | Path | None = None, kind: str = "auto", licence: str = "", on_bad: OnBad = _log
) -> Iterator[Record]:
    """Records of a source, in its order, each question about a video once.

    Args:
        path: a file of questions; the folder of LLaVA-Video-178K, all of whose files of questions below it are read;
            or a folder of videos (kind `folder`), which gives a record without a question for each video, hidden ones
            aside.
        video_root: folder that the videos' paths are relative to; what is not there is a bad row. Without it, paths are
            left as they are and nothing is looked up. A folder of videos needs none, nor does LLaVA-Video-178K.
        kind: `llava_video`, `video_mme`, `nextqa`, `jsonl`, `folder`, or `auto` to tell by the content.
        licence: of all records.
        on_bad: called for each row that cannot be used; by default it is logged.

    Raises:
        SourceError: at the call, for a file that cannot be used at all; at the end, if none of its rows could be.
    """
    path = Path(path)
    if video_root is not None and not os.path.isdir(video_root):
        raise SourceError(f"{video_root}: no such folder; the video root should hold the videos of {path}")
    if os.path.isdir(path) and kind in ("auto", "llava_video"):
        if files := sorted(path.rglob(LLAVA_FILES)):
            parts = chain.from_iterable(_rows(source_rows(file), video_root or file.parent) for file in files)
            return _records(path, parts, format_of("llava_video", path), licence, on_bad)
        if kind == "llava_video":
            raise SourceError(f"{path}: holds no file '{LLAVA_FILES}', as the folders of LLaVA-Video-178K do")
    if kind == "folder" or (kind == "auto" and os.path.isdir(path)):
        return _footage(path, licence, on_bad)
    if os.path.isdir(path):
        raise SourceError(f"{path}: is a folder; a source of kind '{kind}' is a file")
    read = source_rows(path)
    first = list(islice(read, LOOKED_AT))
    rows = _rows(chain(first, read), video_root)
    return _records(path, rows, _format(path, first, kind), licence, on_bad)


def require_source(path: str | Path) -> None:
    """Before anything is started for it. Raises SourceError: there is no such source, or it is a film."""
    if not os.path.exists(path):
        raise SourceError(f"{path}: no such file or folder")
    if str(path).lower().endswith(VIDEO_SUFFIXES) and os.path.isfile(path):
        raise SourceError(f"{path}: is a single video; name the folder that it lies in")


def _rows(rows: Iterator[Row], root: str | Path | None) -> Iterator[tuple[Row, VideoFiles]]:
    files = VideoFiles(root)
    return ((row, files) for row in rows)


def _format(path: Path, first: list[Row], kind: str) -> Reader:
    if not first:
        raise SourceError(f"{path}: holds no row; it should hold questions about videos")
    if kind == "auto":
        known = (recognise(values) for _, values in first if not isinstance(values, BadRow))
        kind = next((found for found in known if found is not None), "")
    if not kind:
        _, row = first[0]
        why = row if isinstance(row, BadRow) else f"has the keys {', '.join(map(repr, list(row)[:8]))}"
        needed = "'conversations', 'videoID', or 'video' and 'question'"
        raise SourceError(f"{path}: is of no known kind, its first row {why}; rows should have {needed}")
    return format_of(kind, path)


def _records(
    path: Path, rows: Iterator[tuple[Row, VideoFiles]], questions: Reader, licence: str, on_bad: OnBad
) -> Iterator[Record]:
    """The records of rows, each with where its videos lie."""
    asked: dict[str, str] = {}
    good = bad = 0
    first = ""
    for (where, values), files in rows:
        for found in _questions(values, questions):
            try:
                if isinstance(found, BadRow):
                    raise found
                record = _checked(found, files, licence)
                key = digest(found.video, record.question, record.options)
                if asked.get(key, record.answer) != record.answer:
                    raise BadRow("asks what a row before it asks, with another answer")
            except BadRow as reason:
                bad += 1
                first = first or f"{where} {reason}"
                on_bad(where, str(reason))
                continue
            if key not in asked:
                asked[key] = record.answer
                good += 1
                yield record
    if not good:
        raise SourceError(f"{path}: none of its {bad} questions can be used; {first}")


def _questions(values: JsonObject | BadRow, questions: Reader) -> Iterator[Question | BadRow]:
    try:
        if isinstance(values, BadRow):
            raise values
        yield from questions(values)
    except BadRow as reason:
        yield reason


def _checked(found: Question, files: VideoFiles, licence: str) -> Record:
    """The record of a question, if its question, options and answer agree and its video is there."""
    found = checked(found)
    return Record(
        id=_id(found),
        source=found.source,
        video=files.find(found.video),
        question=found.question,
        answer=found.answer,
        options=found.options,
        dimension=found.dimension,
        licence=licence,
    )


def _footage(folder: Path, licence: str, on_bad: OnBad) -> Iterator[Record]:
    """A record without a question for each video of a folder, in the order of their paths; a folder below it that holds
    pictures, and no video, is one."""
    if not os.path.isdir(folder):
        raise SourceError(f"{folder}: no such folder; a source of kind 'folder' is a folder of videos")
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: on_bad(str(error.filename), "is not readable")):
        folders[:] = [name for name in folders if not name.startswith(".")]
        videos = [name for name in names if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")]
        found.extend(Path(parent, name) for name in videos)
        if not videos and is_frame_folder(parent):
            found.append(Path(parent))
    if not found:
        endings = ", ".join(VIDEO_SUFFIXES)
        raise SourceError(f"{folder}: holds no video; files should end in {endings}, or folders hold frames")
    return _films(folder, sorted(found), licence, on_bad)


def _films(folder: Path, paths: list[Path], licence: str, on_bad: OnBad) -> Iterator[Record]:
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if (readable := str(path).encode(errors="replace").decode()) != str(path):
            on_bad(readable, "has a name that is not valid Unicode")
        elif not path.is_dir() and (not path.is_file() or not path.stat().st_size):
            on_bad(str(path), "is empty or not a file")
        elif path.is_file() and (same := _same_file(path, by_size[path.stat().st_size])):
            on_bad(str(path), f"is the same film as {same.name}")
        else:
            yield Record(
                _id(Question(path.stem, "footage", name, "", "")), "footage", str(path), "", "", licence=licence
            )


def _same_file(path: Path, others: list[Path]) -> Path | None:
    """The one of some files of the same size that has the same content; if there is none, the file joins them."""
    for other in others:
        if filecmp.cmp(path, other, shallow=False):
            return other
    others.append(path)
    return None


def _id(found: Question) -> str:
    """The source's own id in the characters of a file name, and a hash of what is asked."""
    return f"{file_name(found.id)}-{digest(found.video, found.question, found.options)}".lstrip("-")
