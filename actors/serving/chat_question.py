"""The question in what a client writes: harnesses put options, instructions and cues for the answer around it.

Invariant: a pure function of the text. Options are taken for such only where each stands on a line of its own, after
what asks for them; whatever else there is stays in the question.
"""

import re
from collections.abc import Sequence

from env.datasets.choices import without_instructions
from env.task import MAX_OPTIONS

_OPTION = re.compile(
    r"\s*[*_]{0,2}(?:option\s+|choice\s+)?[(\[]?([A-Za-z])(?:[)\]]|[.:](?=[\s*_]|$))[*_]{0,2}\s*(.*)", re.IGNORECASE
)
_CUE = re.compile(r"\s*(?:the |your )?(?:best |correct |final )?(?:answer|option)(?: is)?\s*:?\s*", re.IGNORECASE)
"""What harnesses end a question with, for a model that goes on writing."""
_HEADING = re.compile(r"\s*(?:answer )?(?:options|choices)\s*:\s*", re.IGNORECASE)
_ASKS = re.compile(r"\s*question\s*:\s*", re.IGNORECASE)
INSTRUCTS = ("answer", "letter", "option", "choice", "boxed", "step by step")
"""What those say of how to answer that `without_instructions` leaves."""
LAST_LINE_CHARS = 60
"""Longest last line that may be a cue."""


def read_question(text: str) -> tuple[str, tuple[str, ...] | None]:
    """The question of a text and its options without letters; None where it is open."""
    lines = text.strip().split("\n")
    if len(lines) > 1 and len(lines[-1]) <= LAST_LINE_CHARS and _CUE.fullmatch(lines[-1]):
        lines.pop()
    found = _options(lines)
    if found is None:
        return without_instructions("\n".join(lines)) or text.strip(), None
    first, last, options = found
    before, after = lines[:first], lines[last + 1 :]
    if before and _HEADING.fullmatch(before[-1]):
        before.pop()
    asked = _ASKS.sub("", without_instructions("\n".join(before)), count=1)
    rest = without_instructions("\n".join(after)) if any(line.strip() for line in after) else ""
    # A dialogue is lettered too, and what it is about comes after it.
    if not asked or ("?" in rest and "?" not in asked):
        return text.strip(), None
    return " ".join(filter(None, [asked, "" if _is_instruction(after) else rest])), options


def _options(lines: Sequence[str]) -> tuple[int, int, tuple[str, ...]] | None:
    """First and last line of the last block of lines that are lettered from A on, and their texts."""
    best = None
    for start, line in enumerate(lines):
        match = _OPTION.fullmatch(line)
        if match is None or match[1] not in "Aa":
            continue
        texts, at, first = [match[2].strip()], start, match[1]
        for i in range(start + 1, len(lines)):
            if not lines[i].strip():
                continue
            following = _OPTION.fullmatch(lines[i])
            if following is None or following[1] != chr(ord(first) + len(texts)):
                break
            texts.append(following[2].strip())
            at = i
        if 2 <= len(texts) <= MAX_OPTIONS and all(texts):
            best = start, at, tuple(" ".join(text.strip("*_ ").split()) for text in texts)
    return best


def _is_instruction(after: Sequence[str]) -> bool:
    """Whether what follows the options only says how to answer."""
    said = " ".join(after).lower()
    return "?" not in said and any(word in said for word in INSTRUCTS)
