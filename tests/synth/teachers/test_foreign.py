"""Thoughts in foreign words."""

import re

from synth.teachers.foreign import WORDS, in_foreign_words
from synth.world.world import CELLS, COLOURS


def test_a_thought_alone_is_put_in_foreign_words() -> None:
    turn = "<think>The mark is on red north. 4.0 red gone leaves.</think><answer> north</answer>"
    assert in_foreign_words(turn) == (
        "<think>The highlight was on red N. 4.0 red absent exits.</think><answer> north</answer>"
    )
    asked = '<tool_call>{"name": "crop_video", "arguments": {"start_time": 4.0, "end_time": 12.0}}</tool_call>'
    assert (
        in_foreign_words(f"<think>Leaves 4.0 to 12.0.</think>{asked}") == f"<think>Exits 4.0 until 12.0.</think>{asked}"
    )


def test_every_place_has_a_word_of_its_own_and_every_colour_its_name() -> None:
    said = [in_foreign_words(f"<think>{word}</think>") for word in (*CELLS, *COLOURS)]
    assert len(set(said)) == len(said)
    assert not any(re.search(rf">{cell}<", each) for cell in CELLS for each in said)
    assert all(f"<think>{colour}</think>" in said for colour in COLOURS)
    assert not WORDS.keys() & set(COLOURS)
