"""Free replies to choices: 300 hard ones, and what each step of the reading is for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env.judging.replies import choice_of_reply

HARD, HELD_OUT = (Path(__file__).parents[2] / "evals" / f"choice_replies{which}.jsonl" for which in ("", "_held_out"))
"""The second was written by one who had not seen the reader, after it was made with the first."""
COLOURS = ("red", "blue", "green", "dark red")


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]


@pytest.mark.parametrize(("file", "rows_of_it", "least", "most_false"), [(HARD, 300, 282, 3), (HELD_OUT, 120, 115, 1)])
def test_replies_are_read_as_people_read_them(file: Path, rows_of_it: int, least: int, most_false: int) -> None:
    read = [(row["reads_as"], choice_of_reply(row["reply"], row["options"])) for row in rows(file)]
    assert len(read) == rows_of_it
    assert sum(wanted == got for wanted, got in read) >= least
    assert sum(got not in (None, wanted) for wanted, got in read) <= most_false, "what is not certain is not read"


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("e", None),
        ("<think>A or C?</think>The answer is B.", "B"),
        ("<answer>(C)</answer>", "C"),
        ("<answer>A</answer> no, <answer>B</answer>", None),
        ('{"reason": "it looks so", "answer": "C"}', "C"),
        ('{"A": false, "B": true, "C": false, "D": false}', "B"),
        ('{"answer": "A", "text": "blue"}', None),
        ("Option A is out, B too. That leaves C.", "C"),
        ("At first I thought A. It must be D.", "D"),
        ("The answer is A. If the lamp were on, it would be B.", "A"),
        ("It is not A but B.", "B"),
        ("A and B", None),
        ("Either A or B.", None),
        ("The car is dark red.", "D"),
        ("The car is red.", "A"),
        ("The car is not red.", None),
        ("B, which is red", None),
        ("B<|im_end|>\n<|im_start|>user\nA. red", "B"),
        ("La respuesta correcta es la C.", "C"),
        ("正确答案是D。", "D"),
        ("- [ ] A. red\n- [x] B. blue\n- [ ] C. green\n- [ ] D. dark red", "B"),
        ("A. red\nB. blue\nC. green\nD. dark red", None),
        ("the second option", "B"),
        ("C C C C C C", "C"),
        ("", None),
        ("A blurry picture, I cannot tell.", None),
    ],
)
def test_a_reply_chooses_one_option_or_none(reply: str, letter: str | None) -> None:
    assert choice_of_reply(reply, COLOURS) == letter


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=6, unique=True))
def test_any_text_is_read_as_an_option_or_none(reply: str, options: Sequence[str]) -> None:
    letter = choice_of_reply(reply, options)
    assert letter is None or ord(letter) - ord("A") < len(options)


@pytest.mark.parametrize("run", ["A ", "A, ", "not ", "option ", "<think>", "A. \n", "(B) ", "{"])
def test_a_degenerate_reply_is_read_without_running_away(run: str) -> None:
    assert choice_of_reply(run * 20_000, COLOURS) in (None, "A", "B")
