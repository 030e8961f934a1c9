"""What a row of each published benchmark asks.

Invariant: pure functions of the row. A question that is about a mark which the benchmark draws is kept in its words.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from env.task import MAX_OPTIONS
from synth.record import Record
from synth.sources.choices import split_options, without_letters
from synth.sources.rows import BadRow
from synth.sources.values import text_of, texts_of

V2P_DIMENSIONS = ("OA", "HA", "OD", "FM", "CR", "PU", "CI", "FT", "RT", "AS", "SR", "GC")
"""Of V2P-Bench, by its numbers from 1 on."""
_REGION = re.compile(r"<object(\d+)>\s*<region>")
_NO_OPTION = "N/A"
"""Fills the columns of LongVideoBench's parquet form where a question has fewer options."""


def _v2p_bench(row: Mapping[str, object]) -> Iterator[Record]:
    """V2P-Bench: https://huggingface.co/datasets/gaotiexinqu/V2P-Bench."""
    try:
        question, options = split_options(text_of(row, "question"))
    except ValueError as error:
        raise BadRow(str(error)) from None
    number = text_of(row, "dimension", "")
    known = number.isdecimal() and number.isascii() and 1 <= int(number) <= len(V2P_DIMENSIONS)
    part = text_of(row, "source", "")
    yield Record(
        id=text_of(row, "video_id", ""),
        source=f"V2P-Bench/{part}" if part else "V2P-Bench",
        video=text_of(row, "video_path"),
        question=question,
        answer=text_of(row, "answer"),
        options=options,
        dimension=V2P_DIMENSIONS[int(number) - 1] if known else number,
    )


def _longvideobench(row: Mapping[str, object]) -> Iterator[Record]:
    """LongVideoBench, JSON and parquet: https://huggingface.co/datasets/longvideobench/LongVideoBench."""
    columns = [f"option{i}" for i in range(MAX_OPTIONS) if row.get(f"option{i}") is not None]
    options = texts_of(row, "candidates") if "candidates" in row else [text_of(row, column) for column in columns]
    options = [option for option in options if option != _NO_OPTION]
    number = text_of(row, "correct_choice")
    if not (number.isdecimal() and number.isascii()) or int(number) >= len(options):
        raise BadRow(f"has a 'correct_choice' that is no index of its {len(options)} options")
    yield Record(
        id=text_of(row, "id", ""),
        source="LongVideoBench",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=chr(ord("A") + int(number)),
        options=tuple(options),
        dimension=text_of(row, "question_category", ""),
    )


def _videosiah(row: Mapping[str, object]) -> Iterator[Record]:
    """VideoSIAH-Eval of LongVT: https://huggingface.co/datasets/longvideotool/VideoSIAH-Eval."""
    yield Record(
        id=text_of(row, "id", ""),
        source="VideoSIAH-Eval",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=text_of(row, "answer"),
    )


def _videorefer(row: Mapping[str, object]) -> Iterator[Record]:
    """VideoRefer-Bench-Q: https://huggingface.co/datasets/DAMO-NLP-SG/VideoRefer-Bench."""
    asked = text_of(row, "Question")
    several = len(set(_REGION.findall(asked))) > 1
    marked = r"marked object \1" if several else "the marked object"
    yield Record(
        id=text_of(row, "id", ""),
        source="VideoRefer-Bench-Q",
        video=text_of(row, "video"),
        question=_REGION.sub(marked, asked),
        answer=text_of(row, "Answer"),
        options=without_letters(texts_of(row, "options")),
        dimension=text_of(row, "type", ""),
    )


def _inst_it(row: Mapping[str, object]) -> Iterator[Record]:
    """Inst-It-Bench, multiple choice and open: https://huggingface.co/datasets/Inst-IT/Inst-It-Bench."""
    columns = [f"choice_{letter}" for letter in "abcdefgh" if row.get(f"choice_{letter}") is not None]
    yield Record(
        id=text_of(row, "question_id", ""),
        source="Inst-It-Bench",
        video=text_of(row, "video_path"),
        question=text_of(row, "question"),
        answer=text_of(row, "answer"),
        options=tuple(text_of(row, column) for column in columns) or None,
    )


BENCHMARKS: dict[str, Callable[[Mapping[str, object]], Iterator[Record]]] = {
    "v2p_bench": _v2p_bench,
    "longvideobench": _longvideobench,
    "videorefer": _videorefer,
    "inst_it": _inst_it,
    "videosiah": _videosiah,
}
BENCHMARK_KEYS = {
    "v2p_bench": {"video_path", "frame_path", "question"},
    "longvideobench": {"video_path", "correct_choice"},
    "videorefer": {"video", "Question", "Answer"},
    "inst_it": {"question_id", "video_path", "question"},
    "videosiah": {"video_path", "question", "answer"},
}
"""By which a row is recognised; the first that fits."""
