"""Exact rules that say whether an answer is right.

Invariant: a pure function of the task and the answer's text. An answer that cannot be read as one option, or that
names several, scores 0 like any wrong one; it never leaves the denominator.

Open answers are compared as closed vocabulary: case, articles, connecting words, punctuation, spelled-out numbers and
a lead-in such as "the answer is" do not count; everything else does.
"""

import re
import unicodedata
from collections.abc import Sequence

from env.task import Task

_UNITS = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_NUMBERS = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * i for i, word in enumerate(_TENS, 2)}
_COMPOUND = re.compile(rf"\b({'|'.join(_TENS)})[\s-]+({'|'.join(_UNITS[1:10])})\b")
_DROPPED = {"a", "an", "the", "and", "then"}
_SPELLINGS = {"gray": "grey", "color": "colour", "center": "centre"}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(rf"{_NUMBER.pattern}|[^\W_]+")
_MINUS = re.compile(r"(?<![^\s(])-(?=[0-9])")
_TYPOGRAPHY = str.maketrans({"\u2019": "'", "\u2013": "-", "\u2014": "-", "\u2212": "-"})
_RUN = re.compile(r"[\W_]{9,}")
_LATEX = re.compile(r"\\(?:boxed|text|textbf|mathrm)\b")

_LABEL = r"(?:(?:the\s+)?(?:option|choice|letter|answer)\s+)?"
_IS = r"(?:is|was|would\s+be|should\s+be|[:=])\s*:?"
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|therefore|hence)\b\W*)?(?:i\s+(?:think|believe)\s+(?:that\s+)?)?"
    rf"(?:(?:(?:my|the|final|correct|right|best)\s+)*(?:answer|option|choice)\s*{_IS}"
    r"|it(?:\s+is|\s+was|'s)\b|i(?:\s+would|'d)?\s+(?:choose|pick|select|say)\b):?\s*(?P<rest>.+)",
    re.IGNORECASE | re.DOTALL,
)
_ALONE = re.compile(rf"[\W_]*{_LABEL}[\W_]*([a-z])[\W_]*", re.IGNORECASE)
_BEFORE_TEXT = re.compile(rf"[\W_]*(?i:{_LABEL})[\W_]*([A-Z])(?:[\W_]*[).:,;\n*\]}}]|\s+-)[\W_]*(.+)", re.DOTALL)
_BEFORE_REASON = re.compile(
    rf"[\W_]*{_LABEL}[\W_]*([a-z])[\W_]*\s"
    r"(?:because|since|as|is\s+(?:the\s+)?(?:correct|right|best|true|answer))\b.*",
    re.IGNORECASE | re.DOTALL,
)
_CLAIM = re.compile(
    rf"\b(?i:(?:answer|(?:correct|right)\s+(?:option|choice))\s*{_IS}\s*{_LABEL})"
    r"[^\w\s]*([A-Z])(?=[\W_]*(?:$|[).,;:\n*\]}]|\s(?:because|since|as)\b))"
)
_LISTED = re.compile(r"(?:^|\n|\()\s*([A-Z])[).:]")
_LETTERS_ONLY = re.compile(r"(?:[\W_]*\b(?:or|and|[A-Z])\b)+[\W_]*")


def judge(task: Task, answer: str | None) -> float:
    """R_acc of the answer: 1.0 if it is right, else 0.0; None (no answer) is 0.0."""
    if answer is None:
        return 0.0
    if task.form == "choice":
        return float(parse_choice(answer, task.options or ()) == task.answer)
    return float(normalize(task.answer) in {normalize(reading) for reading in (answer, *_readings(answer))})


def parse_choice(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the one option that the answer names, by its letter or its text; None if it names none or several.

    Read as B: `B`, `b`, `(B)`, `**B**`, `B. red`, `The answer is B.`, `option B`, `B is correct`, `\\boxed{B}`, and the
    text of option B. Not read as any letter: `Because …`, `Blue`, `A red car` (that is a text), `A or B`.
    """
    letters = [chr(ord("A") + i) for i in range(len(options))]
    readings = _readings(answer)
    claims = set(_CLAIM.findall(readings[0])) & set(letters)
    if len(claims) > 1:
        return None
    for reading in readings:
        letter = _letter(_ALONE, reading) or ""
        if letter in letters:
            return letter
        if by_text := _letters_of_text(reading, options):
            return by_text.pop() if len(by_text) == 1 else None
        if _names_several(reading):
            return None
        letter = _letter(_BEFORE_TEXT, reading) or _letter(_BEFORE_REASON, reading) or ""
        if letter in letters:
            return letter
    return claims.pop() if claims else None


def normalize(text: str) -> str:
    """The text as closed vocabulary: what is left of two equal answers is the same string."""
    text = _typed(text).casefold()
    text = _COMPOUND.sub(lambda match: str(_NUMBERS[match[1]] + _NUMBERS[match[2]]), text)
    words = _WORD.findall(_MINUS.sub("minus ", text))
    kept = [_canonical(word) for word in words if word not in _DROPPED]
    return " ".join(kept) or text.strip()


def _typed(text: str) -> str:
    """The text in the characters that a keyboard has."""
    return unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)


def _canonical(word: str) -> str:
    if word in _NUMBERS:
        return str(_NUMBERS[word])
    if not _NUMBER.fullmatch(word):
        return _SPELLINGS.get(word, word)
    whole, _, fraction = word.partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def _readings(answer: str) -> list[str]:
    """The answer, and what follows its lead-in if it has one. Long runs of punctuation, which a policy that has come
    apart may write, are cut: the patterns backtrack in them."""
    answer = _RUN.sub(lambda run: run[0][:4] + run[0][-4:], _LATEX.sub(" ", _typed(answer))).strip()
    lead_in = _LEAD_IN.fullmatch(answer)
    return [answer, lead_in["rest"].strip()] if lead_in else [answer]


def _letter(pattern: re.Pattern[str], reading: str) -> str | None:
    match = pattern.fullmatch(reading)
    return match[1].upper() if match else None


def _letters_of_text(reading: str, options: Sequence[str]) -> set[str]:
    """Letters of the options whose text this is, with the option's own letter before it or without."""
    lettered = [(chr(ord("A") + i), option) for i, option in enumerate(options)]
    return {
        letter
        for letter, text in lettered
        if normalize(reading) == normalize(text) or reading.strip() == f"{letter} {text}"
    }


def _names_several(reading: str) -> bool:
    letters = re.findall(r"\b[A-Z]\b", reading) if _LETTERS_ONLY.fullmatch(reading) else _LISTED.findall(reading)
    return len(set(letters)) > 1
