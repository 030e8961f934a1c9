import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env.datasets.choices import answer_letter, split_options, without_letters
from env.judging.vocabulary import normalize

STYLES = ("({}) ", "{}. ", "{}) ", "{}: ")
MARKER = re.compile(r"(?:^|\s)(?:\([A-Z]\)|[A-Z]\)|[A-Z][.:](?=\s|$))")
TEXTS = (
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30)
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: text and not MARKER.search(text))
)


def letter(i: int) -> str:
    return chr(ord("A") + i)


@given(TEXTS, st.lists(TEXTS, min_size=2, max_size=26), st.sampled_from(STYLES), st.booleans())
def test_what_is_written_as_a_choice_is_read_as_one(
    question: str, options: list[str], style: str, instructed: bool
) -> None:
    text = question + "".join(f"\n{style.format(letter(i))}{option}" for i, option in enumerate(options))
    if instructed:
        text += "\nPlease respond with only the letter of the correct answer."
    assert split_options(text) == (question, tuple(options))


@given(TEXTS, st.lists(TEXTS, min_size=2, max_size=6), st.sampled_from(STYLES))
def test_options_on_one_line_are_read_too(question: str, options: list[str], style: str) -> None:
    text = " ".join([question, *(style.format(letter(i)) + option for i, option in enumerate(options))])
    assert split_options(text) == (question, tuple(options))


@given(TEXTS)
def test_a_text_without_letters_is_an_open_question(question: str) -> None:
    assert split_options(question) == (question, None)


@given(st.lists(TEXTS, min_size=2, max_size=26), st.sampled_from(STYLES))
def test_letters_come_off_only_if_all_have_theirs(options: list[str], style: str) -> None:
    lettered = [style.format(letter(i)) + option for i, option in enumerate(options)]
    assert tuple(text.strip() for text in without_letters(lettered)) == tuple(options)
    assert without_letters([*lettered, "no letter"]) == (*lettered, "no letter")


@given(st.data(), st.lists(TEXTS.map(lambda text: f"cup {text}"), min_size=2, max_size=8, unique_by=normalize))
def test_an_answer_is_read_in_each_form_that_data_sets_use(data: st.DataObject, options: list[str]) -> None:
    i = data.draw(st.integers(0, len(options) - 1))
    for form in ("{0}", "{0}.", "({0})", "{0}. {1}", "({0}) {1}", "{1}"):
        assert answer_letter(form.format(letter(i), options[i]), options) == letter(i)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "What does the man do\nwith the cup?\nA. He puts it\ndown.\nB. He drinks.\nSelect the best option.",
            ("What does the man do with the cup?", ("He puts it down.", "He drinks.")),
        ),
        (
            "Which dog barks? (A) the brown one (B) the white one. Answer with the option's letter from the given "
            "choices directly.",
            ("Which dog barks?", ("the brown one", "the white one.")),
        ),
        (
            "What is he told?\nOptions:\nA) Sit.\nB) Answer the phone directly.\nPlease answer with the letter.",
            ("What is he told?", ("Sit.", "Answer the phone directly.")),
        ),
        (
            "how do the men play\nAnswer the question using a single word or phrase.",
            ("how do the men play", None),
        ),
        ("Whom does Mr. A. Smith greet?", ("Whom does Mr. A. Smith greet?", None)),
        ("Please describe the video in detail.", ("Please describe the video in detail.", None)),
        ("Select the best option.", ("Select the best option.", None)),
    ],
)
def test_texts_as_they_occur(text: str, expected: tuple[str, tuple[str, str] | None]) -> None:
    assert split_options(text) == expected


@pytest.mark.parametrize(
    "text",
    ["Who?\nA. x\nB. y\nD. z", "Who?\nB. x\nC. y", "Who?\nA. x\nC. z\nB. y", "Who?\nA. x\nB) y"],
    ids=["gap", "no A", "wrong order", "two styles"],
)
def test_lettered_lines_that_are_no_options_are_not_guessed_at(text: str) -> None:
    with pytest.raises(ValueError, match="not lettered"):
        split_options(text)


@pytest.mark.parametrize("answer", ["C", "C.", "Because he left", "A or B", "A. blue", ""])
def test_an_answer_that_names_no_option_is_none(answer: str) -> None:
    assert answer_letter(answer, ("red", "blue")) is None
