"""Video-MME: https://huggingface.co/datasets/lmms-lab/Video-MME, and the same as VLMEvalKit's TSV.

Nothing is marked in it. Subtitles are at `subtitle/ID.srt`.
"""

import ast
from collections.abc import Iterator, Mapping

from env.datasets.choices import without_letters
from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import text_of, texts_of

LABELS = ("duration", "domain", "sub_category")


def video_mme(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    part = text_of(row, "duration", "")
    name = text_of(row, "videoID", "") or text_of(row, "video")
    yield Question(
        id=text_of(row, "question_id", "") or text_of(row, "index", ""),
        source=f"Video-MME/{part}" if part else "Video-MME",
        video=f"{name}.mp4",
        question=text_of(row, "question"),
        answer=text_of(row, "answer"),
        options=without_letters(_options(row)),
        dimension=text_of(row, "task_type", ""),
        labels={key: value for key in LABELS if (value := text_of(row, key, ""))},
        subtitles=f"{name}.srt",
    )


def _options(row: Mapping[str, object]) -> list[str]:
    key = "options" if "options" in row else "candidates"
    if not isinstance(written := row.get(key), str):
        return texts_of(row, key)
    try:
        return texts_of({key: ast.literal_eval(written)}, key)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise BadRow(f"has no list of '{key}'") from None
