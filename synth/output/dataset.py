"""The finished data: task files for training, and a data set that Hugging Face `datasets` loads.

Invariant: files are functions of the records and their order alone, each is written whole or not at all, and a video
lies on one side of the split with all of its questions.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config
from env.task import Task, save_tasks
from storage.files import JsonObject, whole_file, whole_folder
from synth.motion.questions import FIRST_LOOK
from synth.motion.questions import SOURCE as FOOTAGE
from synth.output.split import split_of
from synth.record import Record
from tools.decoding.frame_folder import pictures, split_rate
from tools.marks.visual_prompt import VisualPrompt

SPLITS = ("train", "rl", "test")
ROWS_PER_GROUP = 256
"""Rows that are in memory at once."""
_STRING: JsonObject = {"dtype": "string", "_type": "Value"}
TYPES: dict[type, tuple[pa.DataType, JsonObject]] = {
    str: (pa.string(), _STRING),
    float: (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    list: (pa.list_(pa.string()), {"_type": "List", "feature": _STRING}),
    dict: (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"_type": "Image"}),
}
"""What a value of a row is to Arrow and to `datasets`."""


def task_of(record: Record) -> Task:
    """The task of a marked record."""
    assert record.marked is not None
    marked = record.marked
    return Task(
        id=record.id,
        video=record.video,
        question=marked.question,
        answer=record.answer,
        dimension=record.dimension,
        visual_prompts=(VisualPrompt(marked.image, marked.time_s, marked.kind, marked.geometry),),
        form="choice" if marked.options else "open",
        options=marked.options,
        source=record.source,
        kind=str(record.facts.get("kind", "")),
        evidence=_evidence(record),
        facts={**record.facts, "mark_time_s": marked.time_s},
    )


def _evidence(record: Record) -> tuple[tuple[float, float], ...]:
    """What must be seen of a video, where measured tracks tell: the question's stretch, if one must look closer."""
    if record.source != FOOTAGE or record.target is None or record.facts["kind"] in ("colour", *FIRST_LOOK):
        return ()
    return ((record.target.start_s, record.target.end_s),)


def split_records(records: Iterable[Record], config: Config) -> dict[str, list[Record]]:
    """The marked records of each split, in their order; `rl` is of films for GRPO alone."""
    split: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for record in records:
        if record.marked:
            name = record.split or split_of(record.video, config.seed, config.synth.test_fraction)
            split[name].append(record)
    return {name: rows for name, rows in split.items() if rows or name != "rl"}


def write_tasks(split: dict[str, list[Record]], folder: Path) -> None:
    """`train.jsonl`, `rl.jsonl` and `test.jsonl`, the task files that training and evaluation read; one without tasks
    is left out.

    The training file is written last: a folder that has it is complete.
    """
    for name in reversed(SPLITS):
        if split.get(name):
            save_tasks(folder / f"{name}.jsonl", map(task_of, split[name]))


def write_dataset(split: dict[str, list[Record]], folder: Path) -> None:
    """Parquet files with the marked frames in them, and the videos as files beside them.

    Videos are hard links where the file system allows, else copies.

    Raises:
        OSError: the disk is full or a video is gone.
    """
    videos = _names({record.video for records in split.values() for record in records})
    for source, name in videos.items():
        _place(Path(source), folder / "videos" / name)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, records in split.items():
        if records:
            _write_parquet(folder / "data" / f"{name}.parquet", _rows(records, videos))


def _rows(records: Iterable[Record], videos: dict[str, str]) -> Iterator[JsonObject]:
    """Rows of the data set. `mark_geometry` and `mask` (COCO run-length encoding of the target in the marked frame) are
    JSON; `video` is a path in the data set's folder; options are empty for open questions."""
    for record in records:
        assert record.marked is not None
        assert record.target is not None
        marked, target = record.marked, record.target
        yield {
            "id": record.id,
            "video": f"videos/{videos[record.video]}",
            "question": marked.question,
            "options": list(marked.options or ()),
            "answer": record.answer,
            "form": "choice" if marked.options else "open",
            "dimension": record.dimension,
            "marked_frame": {"bytes": Path(marked.image).read_bytes(), "path": Path(marked.image).name},
            "mark_kind": marked.kind,
            "mark_time_s": float(marked.time_s),
            "mark_geometry": json.dumps(marked.geometry),
            "mask": json.dumps(record.marked_mask().rle),
            "tag": target.tag,
            "window_start_s": float(target.start_s),
            "window_end_s": float(target.end_s),
            "original_question": record.question,
            "original_options": list(record.options or ()),
            "source": record.source,
            "licence": record.licence,
        }


def _write_parquet(path: Path, rows: Iterator[JsonObject]) -> None:
    first = next(rows)
    types = {name: TYPES[type(value)] for name, value in first.items()}
    features = {"info": {"features": {name: feature for name, (_, feature) in types.items()}}}
    fields = [pa.field(name, arrow) for name, (arrow, _) in types.items()]
    schema = pa.schema(fields, metadata={"huggingface": json.dumps(features)})
    rows = chain([first], rows)
    with whole_file(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _names(videos: set[str]) -> dict[str, str]:
    """The path of each video from the folder that holds them all."""
    root = os.path.commonpath([os.path.dirname(video) for video in videos]) if videos else ""
    return {video: os.path.relpath(video, root or ".") for video in videos}


def _place(source: Path, to: Path) -> None:
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    folder, _ = split_rate(str(source))
    if os.path.isdir(folder):
        with whole_folder(to) as partial:
            for picture in pictures(folder):
                _copy(picture.path, partial / picture.name)
        return
    with whole_file(to) as partial:
        _copy(source, partial)


def _copy(source: str | Path, to: Path) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)
