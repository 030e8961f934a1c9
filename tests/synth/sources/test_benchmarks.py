"""Rows of the published benchmarks, with their keys and oddities; the contents are our own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_config
from env.datasets.benchmarks import BENCHMARKS
from synth.sources.formats import KINDS, recognise
from tests.synth.sources.test_sources import read, write

__all__ = ["read"]

INSTRUCTION = (
    "Select the best option that accurately addresses the question. Give only your option letter, no other words."
)
V2P = {
    "video_id": "v1",
    "video_path": "Set/v1.avi",
    "duration": 12,
    "question": f"What does the dog in the box do?\nA: It runs.\nB: It sleeps.\nC: It eats.\n{INSTRUCTION}",
    "answer": "B",
    "source": "Set",
    "frame_path": ["Set/v1.jpg", "Set/v1b.jpg"],
    "dimension": 2,
    "category": 1,
}
LONG = {
    "video_id": "v1",
    "question": "What happens first?",
    "candidates": ["rain", "snow"],
    "correct_choice": 1,
    "position": [3, 9],
    "id": "v1_0",
    "video_path": "v1.mp4",
    "subtitle_path": "v1_en.json",
    "duration_group": 15,
    "question_category": "E2O",
}
PADDED = {
    **{key: value for key, value in LONG.items() if key != "candidates"},
    **{"option0": "rain", "option1": "snow", "option2": "hail", "option3": "N/A", "option4": "N/A"},
}
SIAH = {"video_path": "v1.mp4", "question": "What does the cook pour?", "answer": "milk"}
REFER = {
    "id": 0,
    "video": "SET/JPEGImages/480p/dog",
    "Question": "What is <object3><region> not wearing?",
    "type": "Basic Questions",
    "options": ["(A) A hat", "(B) A tie"],
    "Answer": "(A) A hat",
    "frame_idx": "7",
    "annotation": [{"7": {"segmentation": {"size": [4, 3], "counts": "52\\"}}}],
}
INST = {
    "question_id": "q1",
    "question": "What does [1] do?",
    "choice_a": "run",
    "choice_b": "sit",
    "choice_c": "eat",
    "choice_d": "cry",
    "answer": "B",
    "video_path": "videos_vpt/v1",
}
OPEN_INST = {key: value for key, value in INST.items() if "choice" not in key} | {"answer": "It sits."}
MASK = {"7": {"segmentation": {"size": [4, 3], "counts": "52\\"}}}
BOTH = {**REFER, "Question": "Is <object0><region> before <object1> <region>?", "annotation": [MASK, MASK]}


@pytest.mark.parametrize(
    ("row", "kind", "read_as"),
    [
        (V2P, "v2p_bench", ("What does the dog in the box do?", ("It runs.", "It sleeps.", "It eats."), "B", "HA")),
        ({**V2P, "dimension": 13}, "v2p_bench", (None, None, "B", "SR")),
        ({**V2P, "frame_path": "Set/v1.jpg", "dimension": 8}, "v2p_bench", (None, None, "B", "8")),
        (LONG, "longvideobench", ("What happens first?", ("rain", "snow"), "B", "E2O")),
        (PADDED, "longvideobench", ("What happens first?", ("rain", "snow", "hail"), "B", "E2O")),
        (SIAH, "videosiah", ("What does the cook pour?", None, "milk", "")),
        (REFER, "videorefer", ("What is the marked object not wearing?", ("A hat", "A tie"), "A", "Basic Questions")),
        (BOTH, "videorefer", ("Is the object marked on frame_1 before the object marked on frame_2?", None, "A", None)),
        (INST, "inst_it", ("What does [1] do?", ("run", "sit", "eat", "cry"), "B", "")),
        (OPEN_INST, "inst_it", ("What does [1] do?", None, "It sits.", "")),
    ],
)
def test_a_row_is_recognised_and_read(
    row: dict[str, Any], kind: str, read_as: tuple[Any, ...], tmp_path: Path, read: Callable[..., Any]
) -> None:
    assert recognise(row) == kind
    [record], bad = read(write(tmp_path / "rows.json", [row]))
    assert not bad
    got = (record.question, record.options, record.answer, record.dimension)
    assert [mine for mine, due in zip(got, read_as, strict=True) if due is not None] == [
        due for due in read_as if due is not None
    ]
    assert record.video == row.get("video_path", row.get("video"))


def test_video_mme_keeps_the_type_of_its_task(tmp_path: Path, read: Callable[..., Any]) -> None:
    mme = {"videoID": "abc", "question": "Which?", "options": ["A. Red.", "B. Blue."], "answer": "B"}
    [record], _ = read(write(tmp_path / "rows.json", [{**mme, "task_type": "OCR Problems"}]))
    assert record.dimension == "OCR Problems"
    [record], _ = read(write(tmp_path / "rows.json", [mme]))
    assert record.dimension == ""


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({**LONG, "correct_choice": 2}, "has a 'correct_choice' that is no index of its 2 options"),
        ({**LONG, "correct_choice": -1}, "has a 'correct_choice' that is no index"),
        ({**PADDED, "correct_choice": 3}, "has a 'correct_choice' that is no index of its 3 options"),
        ({**V2P, "answer": "D"}, "has an answer that is none of its options"),
        ({**V2P, "question": "What?\nA: It runs.\nC: It sleeps."}, "its options are not lettered from A on"),
        ({**INST, "answer": "E"}, "has an answer that is none of its options"),
        ({**REFER, "options": "A or B"}, "has no list of 'options'"),
        ({**SIAH, "answer": None}, "has no 'answer'"),
    ],
)
def test_a_row_that_cannot_be_used_is_told(
    row: dict[str, Any], why: str, tmp_path: Path, read: Callable[..., Any]
) -> None:
    kind = recognise(row)
    assert kind is not None
    good = {"v2p_bench": V2P, "longvideobench": LONG, "videorefer": REFER, "inst_it": INST, "videosiah": SIAH}[kind]
    records, bad = read(write(tmp_path / "rows.json", [row, good]), kind=kind)
    assert len(records) == 1
    [(_, reason)] = bad
    assert reason.startswith(why)


def test_every_benchmark_is_a_kind_that_a_config_may_name() -> None:
    assert BENCHMARKS.keys() - {"plain"} <= set(KINDS)
    for kind in KINDS:
        assert load_config(None, [f"synth.source_kind={kind}"]).synth.source_kind == kind
