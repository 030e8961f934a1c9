"""People's own rows, in the words of a task."""

from collections.abc import Iterator, Mapping

from env.datasets.choices import without_letters
from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import number_of, text_of, texts_of


def plain(row: Mapping[str, object], source: str = "") -> Iterator[Question]:
    """The question of a row: video, question, answer; id, options, dimension, source, the picture or pictures `marked`
    and `subtitles` if they are there."""
    if "mark" in row:
        raise BadRow("has a 'mark'; the picture on which the target is marked, or a list of them, is its 'marked'")
    marked, seconds = row.get("marked"), number_of(row, "subtitles_from_s")
    yield Question(
        id=text_of(row, "id", ""),
        source=text_of(row, "source", source),
        video=text_of(row, "video"),
        question=text_of(row, "question"),
        answer=text_of(row, "answer"),
        options=without_letters(texts_of(row, "options")) if row.get("options") else None,
        dimension=text_of(row, "dimension", ""),
        marked=tuple(texts_of(row, "marked")) if isinstance(marked, list) else tuple(filter(None, [_one(row)])),
        subtitles=text_of(row, "subtitles", ""),
        subtitles_from_s=seconds or 0.0,
    )


def _one(row: Mapping[str, object]) -> str:
    return text_of(row, "marked", "")
