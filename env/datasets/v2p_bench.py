"""V2P-Bench: https://huggingface.co/datasets/gaotiexinqu/V2P-Bench.

The target is marked on a picture, or several, of which neither the time nor the kind of mark is told.
"""

import math
from collections.abc import Iterator, Mapping

from env.datasets.choices import split_options
from env.datasets.question import Question
from env.datasets.rows import BadRow
from env.datasets.values import number_of, text_of, texts_of, whole_of

DIMENSIONS = {
    **{"1": "OA", "2": "HA", "3": "OD", "4": "FM", "5": "CR", "6": "PU", "7": "CI"},
    **{"9": "FT", "10": "RT", "12": "AS", "13": "SR", "14": "GC"},
}
"""By their numbers in the rows."""
DURATIONS = ((240.0, "short"), (1800.0, "medium"), (math.inf, "long"))
"""Ends of the classes by length, seconds."""


def v2p_bench(row: Mapping[str, object]) -> Iterator[Question]:
    """The question of a row."""
    try:
        question, options = split_options(text_of(row, "question"))
    except ValueError as error:
        raise BadRow(str(error)) from None
    whole = whole_of(row, "dimension")
    number = text_of(row, "dimension", "") if whole is None else str(whole)
    part, seconds = text_of(row, "source", ""), number_of(row, "duration")
    several = isinstance(row.get("frame_path"), list | tuple)
    yield Question(
        id=text_of(row, "video_id", ""),
        source=f"V2P-Bench/{part}" if part else "V2P-Bench",
        video=text_of(row, "video_path"),
        question=question,
        answer=text_of(row, "answer"),
        options=options,
        dimension=DIMENSIONS.get(number, number),
        labels={} if seconds is None else {"duration": duration_class(seconds)},
        marked=tuple(texts_of(row, "frame_path")) if several else (text_of(row, "frame_path"),),
    )


def duration_class(seconds: float) -> str:
    """The class of a video that is so long."""
    return next((name for end, name in DURATIONS if seconds < end), DURATIONS[-1][1])
