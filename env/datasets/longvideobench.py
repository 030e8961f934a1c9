"""LongVideoBench, JSON and Parquet: https://huggingface.co/datasets/longvideobench/LongVideoBench.

Its videos are parts of longer ones, whose whole subtitles it has.
"""

from collections.abc import Iterator, Mapping

from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import number_of, text_of, texts_of, whole_of
from env.task import MAX_OPTIONS

NO_OPTION = "N/A"
"""Fills the columns of the Parquet form where a question has fewer options."""


def longvideobench(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    options = texts_of(row, "candidates") if "candidates" in row else _padded(row)
    number = whole_of(row, "correct_choice")
    if number is None or number >= len(options):
        raise BadRow(f"has a 'correct_choice' that is no index of its {len(options)} options")
    labels = {"duration": text_of(row, "duration_group", ""), "level": text_of(row, "level", "")}
    yield Question(
        id=text_of(row, "id", ""),
        source="LongVideoBench",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=chr(ord("A") + number),
        options=tuple(options),
        dimension=text_of(row, "question_category", ""),
        labels={key: value for key, value in labels.items() if value},
        subtitles=text_of(row, "subtitle_path", ""),
        subtitles_from_s=number_of(row, "starting_timestamp_for_subtitles") or 0.0,
    )


def _padded(row: Mapping[str, object]) -> list[str]:
    """The options of the Parquet form, without what fills its last columns."""
    columns = [f"option{i}" for i in range(MAX_OPTIONS) if f"option{i}" in row]
    options = [text_of(row, column, NO_OPTION) for column in columns]
    while options and options[-1] == NO_OPTION:
        options.pop()
    return options
