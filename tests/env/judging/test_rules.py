"""The judge: letters and texts of choice questions, closed vocabulary of open ones."""

import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env.judging.rules import judge, parse_choice
from env.judging.vocabulary import normalize
from env.task import Task
from tools.marks.visual_prompt import VisualPrompt

MARK = (VisualPrompt("mark.png", 1.0, "point"),)
OPTIONS = ("a blue car", "a green car", "a red car", "two red cars", "none of them")


def open_task(answer: str) -> Task:
    return Task("t", "v.mp4", "?", answer, "OA", MARK)


def choice_task(answer: str, options: tuple[str, ...] = OPTIONS) -> Task:
    return Task("t", "v.mp4", "?", answer, "OA", MARK, form="choice", options=options)


@pytest.mark.parametrize(
    "said",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B)",
        "[B]",
        "**B**",
        "**(B)**",
        '"B"',
        "_B_",
        " B \n",
        "\uff22",
        "$\\boxed{B}$",
        "\\boxed{\\text{B}}",
        "B. a green car",
        "(B) a green car",
        "B: a green car",
        "B - a green car",
        "B a green car",
        "**B.** a green car",
        "B\nBecause it is green.",
        "B, because it is green",
        "B because A is blue",
        "b is correct",
        "B is the right answer.",
        "Option B",
        "option (B).",
        "Option B: a green car",
        "The answer is B",
        "The answer is B.",
        "The answer is (B).",
        "the answer is b",
        "Answer: B",
        "Final answer: **B**",
        "The correct option is B, as it is green.",
        "The correct answer is option B because it is green.",
        "My final answer would be B.",
        "So the answer is B.",
        "It's B",
        "I choose B.",
        "I think the answer is B",
        "Option A is wrong, so the answer is B.",
        "The car turns left. Therefore the answer is: B",
        "a green car",
        "A green car.",
        "Green car",
        "The answer is a green car.",
        "It is the green car",
    ],
)
def test_is_read_as_b(said: str) -> None:
    assert parse_choice(said, OPTIONS) == "B"
    assert judge(choice_task("B"), said) == 1.0
    assert judge(choice_task("A"), said) == 0.0


@pytest.mark.parametrize(
    "said",
    [
        "",
        "   ",
        "Because it is green",
        "because",
        "Blue",
        "Bus",
        "The",
        "Z",
        "F",
        "B or C",
        "A, B",
        "A/B",
        "B and C",
        "The answer is A or B",
        "The answer is A. The answer is B.",
        "(A) a blue car (B) a green car",
        "A. a blue car\nB. a green car",
        "The answer is not B",
        "B is not it",
        "not a green car",
        "car",
        "A purple car",
        "I cannot tell",
        "None",
    ],
)
def test_is_read_as_no_option(said: str) -> None:
    assert parse_choice(said, OPTIONS) is None
    assert all(judge(choice_task(letter), said) == 0.0 for letter in "ABCDE")


def test_an_article_is_not_the_letter_a() -> None:
    assert parse_choice("A red car", OPTIONS) == "C"
    assert parse_choice("A red car.", OPTIONS) == "C"
    assert parse_choice("The answer is a red car", OPTIONS) == "C"


@given(st.integers(1, 26), st.data())
def test_every_letter_of_every_number_of_options_is_read(count: int, data: st.DataObject) -> None:
    options = tuple(f"option text {i}" for i in range(count))
    letter = data.draw(st.sampled_from(string.ascii_uppercase[:count]))
    for said in (
        letter,
        f"({letter})",
        f"{letter}.",
        f"The answer is {letter}",
        f"{letter}. whatever",
        f"Option {letter}",
    ):
        assert parse_choice(said, options) == letter
    beyond = string.ascii_uppercase[count:]
    assert all(parse_choice(f"({other})", options) is None for other in beyond)


def test_option_e_is_read() -> None:
    assert (
        judge(choice_task("E"), "E") == judge(choice_task("E"), "(E)") == judge(choice_task("E"), "none of them") == 1.0
    )


def test_options_that_are_letters_or_numbers() -> None:
    assert parse_choice("Z", ("X", "Y", "Z")) == "C"
    assert parse_choice("A", ("B", "A")) == "A"
    assert parse_choice("three", ("2", "3", "4")) == "B"
    assert parse_choice("U.S. team", ("UK team", "U.S. team")) == "B"


def test_options_of_the_same_text_cannot_be_named_by_it() -> None:
    assert parse_choice("left", ("left", "Left.")) is None
    assert parse_choice("B", ("left", "the left")) == "B"
    assert parse_choice("the left", ("left", "the left")) == "B"


ORDERS = ("(A)(B)(C)", "(B)(A)(C)", "(C)(A)(B)", "(B)(C)(A)")
PAIRS = ("A and B", "B and C", "A and C", "A, B and C")
LETTERED = ("a, b, c", "b, a, c", "b, c, a", "c, b, a")
SHOPS = ("a book shop", "a bakery", "a cinema", "a book shop")
BANDS = ("Tae", "Rain", "G.D", "S.O.S")
COLOURS = ("blue", "red", "green")


@pytest.mark.parametrize(
    ("options", "said", "letter"),
    [
        (ORDERS, "B. (B)(A)(C)", "B"),
        (ORDERS, "B) (B)(A)(C)", "B"),
        (ORDERS, "The answer is B. (B)(A)(C)", "B"),
        (ORDERS, "(C)(A)(B)", "C"),
        (ORDERS, "D: (B)(C)(A).", "D"),
        (PAIRS, "C. A and C", "C"),
        (PAIRS, "C: A and C", "C"),
        (PAIRS, "A, B and C", "D"),
        (PAIRS, "(B)", "B"),
        (LETTERED, "b, a, c", "B"),
        (LETTERED, "D. c, b, a", "D"),
        (tuple(map("({})".format, LETTERED)), "(b, c, a)", "C"),
        (SHOPS, "A. a book shop", "A"),
        (SHOPS, "The answer is D. a book shop", "D"),
        (SHOPS, "a book shop", None),
        (SHOPS, "a bakery", "B"),
        (BANDS, "D. S.O.S", "D"),
        (BANDS, "S.O.S", "D"),
        (BANDS, "C: G.D", "C"),
        (COLOURS, "C. red", "C"),
        (COLOURS, "A. red", "A"),
        (COLOURS, "A red", "B"),
        (COLOURS, "It is B (red).", "B"),
        (COLOURS, "Red (B)", "B"),
        (COLOURS, "B is red", "B"),
        (COLOURS, "b / red", "B"),
        (COLOURS, "Red (C)", None),
        (("C", "C++", "C#"), "C++", "B"),
        (("+", "-", "/"), "C. /", "C"),
    ],
)
def test_a_letter_with_its_own_delimiter_goes_before_the_text(
    options: tuple[str, ...], said: str, letter: str | None
) -> None:
    assert parse_choice(said, options) == letter


@pytest.mark.parametrize("run", [".", " ", "_", "(", "\n", ".,", "answer is ", "option "])
def test_a_degenerate_answer_is_read_without_running_away(run: str) -> None:
    assert parse_choice(run * 50_000 + "?", OPTIONS) is None
    assert parse_choice("B" + "." * 100_000, OPTIONS) == "B"


@given(st.text())
def test_any_text_is_judged(said: str) -> None:
    assert judge(choice_task("B"), said) in (0.0, 1.0)
    assert judge(open_task("red"), said) in (0.0, 1.0)


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("red", "Red"),
        ("red", " RED. "),
        ("red", "the red"),
        ("red", "It is red."),
        ("red", "It's red"),
        ("red", "The answer is red"),
        ("red", "Answer: red"),
        ("red", "**red**"),
        ("red", "\\boxed{red}"),
        ("red circle", "a red circle"),
        ("3", "three"),
        ("three", "3"),
        ("3 times", "Three times."),
        ("21", "twenty-one"),
        ("0", "Zero"),
        ("3", "3.0"),
        ("12.5 s", "12.50 s"),
        ("-3", "minus three"),
        ("-3", "\u22123"),
        ("top left", "Top-left"),
        ("grey", "gray"),
        ("red, blue, green", "red then blue, then green"),
        ("red, blue", "red and blue"),
        ("caf\u00e9", "Cafe\u0301"),
        ("0.5", ".5"),
        ("1200", "1,200"),
        ("1,200,000.50", "1200000.5"),
        ("100", "one hundred"),
        ("1200", "twelve hundred"),
        ("2,345", "two thousand three hundred and forty-five"),
        ("1st", "first"),
        ("the 22nd floor", "Twenty-second floor"),
        ("112th", "one hundred and twelfth"),
        ("10%", "10 percent"),
        ("3/4", "\u00be"),
        ("3", "$3$"),
        ("90 degrees", "90\u00b0"),
        ("1 hundred", "1 hundred"),
    ],
)
def test_open_answers_that_are_the_same(expected: str, said: str) -> None:
    assert judge(open_task(expected), said) == 1.0


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("red", ""),
        ("red", "blue"),
        ("red", "not red"),
        ("red", "reddish"),
        ("red", "red or blue"),
        ("red", "redred"),
        ("3", "13"),
        ("3", "-3"),
        ("3", "30"),
        ("12.5", "125"),
        ("1 2", "12"),
        ("20 1", "21"),
        ("red, blue", "blue, red"),
        ("left", "right"),
        ("5", ".5"),
        ("5", "5 %"),
        ("1:30", "1.30"),
        ("Vitamin A", "vitamin"),
        ("b, a, c", "a, b, c"),
        ("C++", "C"),
        ("C#", "C"),
        ("+", "-"),
        ("3/4", "3 4"),
        ("2 3", "two hundred three"),
        ("23", "two three"),
        ("$5", "5 euros"),
        ("1,20", "120"),
        ("20 1st", "21st"),
    ],
)
def test_open_answers_that_differ(expected: str, said: str) -> None:
    assert judge(open_task(expected), said) == 0.0


@pytest.mark.parametrize(
    ("said", "right"),
    [
        *(
            (said, 1.0)
            for said in ("34.5", "33.5", "35.5", "at 35 s", "The answer is 34 seconds.", "thirty-four", "0034.50")
        ),
        *((said, 0.0) for said in ("33.4", "35.6", "-34.5", "between 34 and 35", "34.5, or 40", "soon", "", "345")),
    ],
)
def test_a_number_within_the_tolerance_is_right(said: str, right: float) -> None:
    assert judge(dataclasses.replace(open_task("34.5"), tolerance=1.0), said) == right


def test_no_answer_is_wrong_and_still_counts() -> None:
    assert judge(open_task("red"), None) == 0.0
    assert judge(choice_task("A"), None) == 0.0


@given(st.from_regex(r"[a-z]{2,8}( [a-z]{2,8}| [0-9]{1,5}){0,4}", fullmatch=True))
def test_case_and_outer_punctuation_do_not_count(text: str) -> None:
    assert normalize(text) == normalize(text.upper()) == normalize(f' "{text}". ') == normalize(f"({text})!")


@given(st.text(min_size=1).filter(str.strip))
def test_the_expected_answer_is_right(answer: str) -> None:
    assert judge(open_task(answer), answer) == 1.0
