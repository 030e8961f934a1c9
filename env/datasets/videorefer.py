"""VideoRefer-Bench-Q: https://huggingface.co/datasets/DAMO-NLP-SG/VideoRefer-Bench.

Its videos are folders of pictures; its targets are masks in one of them, one for each object of the question.
"""

import re
from collections.abc import Iterator, Mapping

from env.datasets.choices import without_letters
from env.datasets.question import Question, Region
from env.datasets.rows import BadRow
from env.datasets.values import text_of, texts_of

_REGION = re.compile(r"<object(\d+)>\s*<region>")


def videorefer(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    asked = text_of(row, "Question")
    objects = list(dict.fromkeys(_REGION.findall(asked)))
    if not objects:
        raise BadRow("has no '<object…><region>' in its 'Question'")

    def name(region: re.Match[str]) -> str:
        several = len(objects) > 1
        return f"the object marked on frame_{objects.index(region[1]) + 1}" if several else "the marked object"

    yield Question(
        id=text_of(row, "id", ""),
        source="VideoRefer-Bench-Q",
        video=text_of(row, "video"),
        question=_REGION.sub(name, asked),
        answer=text_of(row, "Answer"),
        options=without_letters(texts_of(row, "options")),
        dimension=text_of(row, "type", ""),
        regions=tuple(_regions(row, len(objects))),
    )


def _regions(row: Mapping[str, object], count: int) -> Iterator[Region]:
    annotations = row.get("annotation")
    if not isinstance(annotations, list) or len(annotations) != count:
        raise BadRow(f"has not one mask in 'annotation' for each of its {count} objects")
    first = text_of(row, "frame_idx", "")
    for frames in annotations:
        masks = {key: value for key, value in frames.items() if value} if isinstance(frames, dict) else {}
        frame = first if first in masks else next(iter(masks), "")
        found = masks.get(frame)
        mask = found.get("segmentation") if isinstance(found, dict) else None
        if not (frame.isdecimal() and frame.isascii() and len(frame) < 10) or not isinstance(mask, dict):
            raise BadRow("has an 'annotation' without a frame's number and its run-length encoding")
        yield Region(int(frame), mask)
