"""Files of labelled pairs."""

import json
from pathlib import Path

import pytest

from env.judging.pairs import PairError, load_pairs

GOOD = {"question": "What is it?", "truth": "a cup", "answer": "a mug", "label": 0.5}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([], ":2: is no JSON object"),
        ({**GOOD, "answer": None}, ":2: a pair has the texts question, truth and answer, and a label"),
        ({**GOOD, "truth": " "}, ":2: its truth is empty"),
        ({**GOOD, "label": 2}, ":2: its label is 2, not 1, 0.5 or 0"),
        ({**GOOD, "label": True}, ":2: its label is True"),
        ({**GOOD, "label": "1"}, ":2: its label is '1'"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, row: object, sentence: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{json.dumps(row)}\n")
    with pytest.raises(PairError) as raised:
        load_pairs(file)
    assert sentence in str(raised.value)


def test_a_file_that_is_not_there_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="cannot be read"):
        load_pairs(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(PairError, match="holds no pair"):
        load_pairs(tmp_path / "empty.jsonl")
