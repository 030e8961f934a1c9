"""What names a target is found, however it is written; what does not is let be."""

import numpy as np
import pytest

from synth.record import Target
from synth.stages.leaks import changed_options, leaked_words, lost_words, named

TARGETS = {
    "the man in the red shirt": "man red shirt black cap",
    "the puppy": "small brown puppy white paws",
    "the woman on the left": "blonde woman blue striped dress",
    "the grey sedan": "grey four door sedan car",
    "the boys": "two young boys green jackets",
}
PHRASE = "the target in the box"


@pytest.mark.parametrize(
    "text",
    [
        "What does the man do?",
        "What does the MAN's friend do?",
        "What does the m\u0430n do?",
        "What are the men doing?",
        "What does the red-shirted one do?",
        "What does the reddish one do?",
        "What does he do then?",
        "What is on his head?",
        "What does the guy do?",
        "What does the target in the box do with the shirts?",
        "Where is the T-shirt?",
        "Is the ca\u00adp gone?",
        "Is the m\u200ban there?",
    ],
)
def test_words_of_the_identity_are_found(text: str) -> None:
    assert leaked_words([text], "the man in the red shirt", TARGETS["the man in the red shirt"], PHRASE)


@pytest.mark.parametrize(
    "text",
    [
        "What does the target in the box do after the music starts?",
        "The target in the box does what first?",
        "Does it cross the road between 3.0 s and 5.5 s?",
        "Which of these is nearest to it?",
    ],
)
def test_other_words_are_not(text: str) -> None:
    assert leaked_words([text], "the man in the red shirt", TARGETS["the man in the red shirt"], PHRASE) == []


def test_the_phrase_s_own_words_may_stand() -> None:
    assert leaked_words(["Where is the outlined target?"], "the outlined sign", "white outlined sign") == ["outlined"]
    assert leaked_words(["Where is the outlined target?"], "the sign", "white sign", "the outlined target") == []


def test_no_leaky_rewrite_of_a_seeded_set_passes() -> None:
    rng = np.random.default_rng(0)
    for description, tag in TARGETS.items():
        words = [word for word in f"{description} {tag}".split() if word not in ("the", "in", "on", "two", "four")]
        for _ in range(400):
            word = _disguised(str(rng.choice(words)), rng)
            said = str(rng.choice([f"What does {PHRASE}, the {word}, do next?", f"Where is the {word} now?"]))
            target = Target(description, tag, 0.0, 1.0, "Where is <vp>?")
            assert named(target, said, None, PHRASE), (description, said)


def _disguised(word: str, rng: np.random.Generator) -> str:
    forms = [
        word,
        word.upper(),
        word.capitalize(),
        f"{word}s",
        f"{word}'s",
        f"{word}\u2019s",
        f"{word}-like",
        f'"{word}"',
        word.replace("e", "\u0435"),
        word.replace("a", "\u00e1"),
        f"{word[:1]}\u200b{word[1:]}",
    ]
    return str(rng.choice(forms))


def test_options_may_hold_what_is_asked_for_but_not_the_target() -> None:
    target = Target("the man", "man red shirt black cap", 0.0, 1.0, "What colour is the shirt of <vp>?")
    assert not named(target, "What colour does it wear?", ("red", "blue"))
    assert named(target, "Who leaves first?", ("the man", "the dog"))


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        (("a dog", "the man"), ("a dog", "<vp>"), None),
        (("near the man", "far"), ("near <vp>", "far"), None),
        (("a dog", "the man"), ("<vp>", "the dog"), "an option changed"),
        (("a dog", "the man"), ("the man", "a dog"), "an option changed"),
        (("a dog", "the man"), ("a dog",), "the number of options changed"),
        (None, None, None),
        (("a (dog)",), ("a (dog)",), None),
    ],
)
def test_options_stay_the_same_options(
    before: tuple[str, ...] | None, after: tuple[str, ...] | None, wrong: str | None
) -> None:
    assert changed_options(before, after) == wrong


def test_lost_words_are_those_that_carry_meaning() -> None:
    assert lost_words("What does <vp> throw at 3.5 s?", "What is the target in the box throwing at 3.5 s?") == []
    assert lost_words("What does <vp> throw at 3.5 s?", "What does it throw?") == ["3", "5", "s"]
    assert lost_words("Which ball does <vp> throw?", "Which one does it throw?") == ["ball"]
