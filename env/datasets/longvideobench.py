"""LongVideoBench, JSON and Parquet: https://huggingface.co/datasets/longvideobench/LongVideoBench.

Its videos are parts of longer ones, whose whole subtitles it has.
"""

from collections.abc import Iterator, Mapping

from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import number_of, text_of, texts_of
from env.task import MAX_OPTIONS

NO_OPTION = "N/A"
"""Fills the columns of the Parquet form where a question has fewer options."""


def longvideobench(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    columns = [f"option{i}" for i in range(MAX_OPTIONS) if row.get(f"option{i}") is not None]
    options = texts_of(row, "candidates") if "candidates" in row else [text_of(row, column) for column in columns]
    options = [option for option in options if option != NO_OPTION]
    number = text_of(row, "correct_choice")
    if not (number.isdecimal() and number.isascii()) or int(number) >= len(options):
        raise BadRow(f"has a 'correct_choice' that is no index of its {len(options)} options")
    labels = {"duration": text_of(row, "duration_group", ""), "level": text_of(row, "level", "")}
    yield Question(
        id=text_of(row, "id", ""),
        source="LongVideoBench",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=chr(ord("A") + int(number)),
        options=tuple(options),
        dimension=text_of(row, "question_category", ""),
        labels={key: value for key, value in labels.items() if value},
        subtitles=text_of(row, "subtitle_path", ""),
        subtitles_from_s=number_of(row, "starting_timestamp_for_subtitles") or 0.0,
    )
