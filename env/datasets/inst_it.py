"""Inst-It-Bench, multiple choice and open: https://huggingface.co/datasets/Inst-IT/Inst-It-Bench.

Its videos are folders of pictures on which instances are numbered, as its questions name them: "[1]".
"""

from collections.abc import Iterator, Mapping

from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import text_of


def inst_it(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    columns = [f"choice_{letter}" for letter in "abcdefgh" if row.get(f"choice_{letter}") is not None]
    if columns != [f"choice_{letter}" for letter in "abcdefgh"[: len(columns)]]:
        raise BadRow("has choices with a gap")
    yield Question(
        id=text_of(row, "question_id", ""),
        source="Inst-It-Bench",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=text_of(row, "answer"),
        options=tuple(text_of(row, column) for column in columns) or None,
        labels={"kind": "choice" if columns else "open"},
    )
