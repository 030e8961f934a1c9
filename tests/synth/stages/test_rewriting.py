"""The final question has the mark's phrase in it, asks what was asked, and gives nothing away."""

import asyncio
import dataclasses

import pytest

from configs.world import PROMPT_KINDS
from synth.record import Record, Rejected, Target
from synth.stages.rewriting import accepted, filled, rewrite_by_rules
from synth.world.question import TARGETS

TARGET = Target("the man in red", "man red shirt", 2.0, 6.0, "What does <vp> pick up after 3 s?")
RECORD = Record("a", "test", "a.mp4", "What does the man in red pick up after 3 s?", "a hat", target=TARGET)
CHOICE = dataclasses.replace(RECORD, target=dataclasses.replace(TARGET, options=("a cup", "the hat of <vp>")))
PHRASE = "the circled target"


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_rules_write_a_question_for_every_kind_that_is_accepted(kind: str) -> None:
    phrase = TARGETS[kind]
    words = asyncio.run(rewrite_by_rules(CHOICE, phrase))
    assert accepted(CHOICE, words, phrase) == (
        f"What does {phrase} pick up after 3 s?",
        ("a cup", f"the hat of {phrase}"),
    )


def test_the_phrase_gets_a_capital_where_a_sentence_begins() -> None:
    assert (
        filled("<vp> sits. <vp> stands. Does <vp>?", "the target")
        == "The target sits. The target stands. Does the target?"
    )


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("What does it pick up after 3 s?", "the phrase is missing"),
        ("What does the circled target pick up?", "a part of the question is gone"),
        ("What does the circled target pick up after 5 s?", "a part of the question is gone"),
        ("What does the circled target, a man, pick up after 3 s?", "the target is named"),
        ("What does the circled target pick up after 3 s with his hand?", "the target is named"),
        ("What does the circled target <vp> pick up after 3 s?", "the mark's place was left open"),
    ],
)
def test_what_asks_something_else_or_gives_the_target_away_is_rejected(question: str, reason: str) -> None:
    with pytest.raises(Rejected, match=f"rewriting: {reason}"):
        accepted(RECORD, (question, None), PHRASE)


@pytest.mark.parametrize(
    "options",
    [
        ("the hat of the circled target", "a cup"),
        ("a cup",),
        ("a cup", "the hat"),
        ("A cup!", "the hat of the circled target"),
    ],
)
def test_options_are_the_same_options_in_their_order(options: tuple[str, ...]) -> None:
    with pytest.raises(Rejected, match="rewriting: an option changed"):
        accepted(CHOICE, ("What does the circled target pick up after 3 s?", options), PHRASE)


def test_mended_grammar_is_accepted() -> None:
    words = ("After 3 s, what is the circled target picking up?", None)
    assert accepted(RECORD, words, PHRASE) == words
