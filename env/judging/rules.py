"""Exact rules that say whether an answer is right.

Invariant: a pure function of the task and the answer's text. An answer that cannot be read as one option, or that
names several, scores 0 like any wrong one; it never leaves the denominator.

Open answers are compared as closed vocabulary (`env/judging/vocabulary.py`); a lead-in such as "the answer is" does not
count either. Where a task has a tolerance, the answer's one number is compared with the right one.
"""

import re
from collections.abc import Sequence

from env.judging.vocabulary import normalize, typed
from env.task import Task

_LONGEST = 1000
"""Characters at each end of an answer that are read."""
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
_WITH_TEXT = (
    re.compile(
        rf"[\W_]*{_LABEL}[\W_]*(?P<letter>[a-z])\b(?:\s+is\b)?[\s).:,;*\]}}>/-]*(?P<text>.+)",
        re.IGNORECASE | re.DOTALL,
    ),
    re.compile(r"(?P<text>.+?)\(\s*(?P<letter>[a-z])\s*\)[\W_]*", re.IGNORECASE | re.DOTALL),
)
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
_NUMBERS = re.compile(r"(?:minus )?[0-9]+(?:\.[0-9]+)?")
_LETTERS_ONLY = re.compile(r"(?:[\W_]*\b(?:or|and|[A-Z])\b)+[\W_]*")


def judge(task: Task, answer: str | None) -> float:
    """R_acc of the answer: 1.0 if it is certainly right, else 0.0; None (no answer) is 0.0."""
    return certain(task, answer) or 0.0


def certain(task: Task, answer: str | None) -> float | None:
    """R_acc of the answer, 1.0 or 0.0, where the rules are certain of it, and None where they are not: a choice that
    names no one option, a number that is not told as one, an open answer in other words than the right one."""
    if answer is None or not answer.strip():
        return 0.0
    if task.form == "choice":
        letter = parse_choice(answer, task.options or ())
        return None if letter is None else float(letter == task.answer)
    if task.tolerance is not None:
        number = _one_number(answer)
        return None if number is None else float(abs(number - float(task.answer)) <= task.tolerance + 1e-6)
    right, readings = normalize(task.answer), {normalize(reading) for reading in (answer, *_readings(answer))}
    if right in readings:
        return 1.0
    return 0.0 if all(_NUMBERS.fullmatch(text) for text in (right, *readings)) else None


def _one_number(answer: str) -> float | None:
    """The one number that an answer names."""
    for reading in reversed(_readings(answer)):
        numbers = _NUMBERS.findall(normalize(reading))
        if len(numbers) == 1:
            return float(numbers[0].replace("minus ", "-"))
    return None


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
    alone = [letter for reading in readings if (letter := _bare(reading).upper()) in letters]
    if clear := next(filter(None, (*alone, *(_agreed(reading, options) for reading in readings))), None):
        return clear
    for reading in readings:
        letter = _letter(_ALONE, reading) or ""
        if letter in letters:
            return letter
        if _names_several(reading):
            return None
        letter = _letter(_BEFORE_TEXT, reading) or ""
        if letter in letters:
            return letter
        if by_text := {letters[i] for i, option in enumerate(options) if normalize(option) == normalize(reading)}:
            return by_text.pop() if len(by_text) == 1 else None
        letter = _letter(_BEFORE_REASON, reading) or ""
        if letter in letters:
            return letter
    return claims.pop() if claims else None


def _readings(answer: str) -> list[str]:
    """The answer, and what follows its lead-in if it has one.

    Long runs of punctuation and very long answers, which a policy that has come apart may write, are cut: the patterns
    backtrack in them.
    """
    if len(answer) > 2 * _LONGEST:
        answer = f"{answer[:_LONGEST]} {answer[-_LONGEST:]}"
    answer = _RUN.sub(lambda run: run[0][:4] + run[0][-4:], _LATEX.sub(" ", typed(answer))).strip()
    lead_in = _LEAD_IN.fullmatch(answer)
    return [answer, lead_in["rest"].strip()] if lead_in else [answer]


def _letter(pattern: re.Pattern[str], reading: str) -> str | None:
    match = pattern.fullmatch(reading)
    return match[1].upper() if match else None


def _agreed(reading: str, options: Sequence[str]) -> str | None:
    """The letter of the one option whose exact text this is, or whose letter and text both stand in it."""
    texts = [_bare(option) for option in options]
    if texts.count(_bare(reading)) == 1:
        return chr(ord("A") + texts.index(_bare(reading)))
    for match in filter(None, (pattern.fullmatch(reading) for pattern in _WITH_TEXT)):
        place = ord(match["letter"].upper()) - ord("A")
        if place < len(texts) and texts[place] == _bare(match["text"]):
            return match["letter"].upper()
    return None


def _bare(text: str) -> str:
    text = " ".join(typed(text).casefold().split())
    return text.strip(" .,;:!?\"'*_()[]{}") or text


def _names_several(reading: str) -> bool:
    letters = re.findall(r"\b[A-Z]\b", reading) if _LETTERS_ONLY.fullmatch(reading) else _LISTED.findall(reading)
    return len(set(letters)) > 1
