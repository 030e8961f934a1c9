"""Multiple choice as data sets write it: the options inside the question's text, the answer as a letter or a text.

Invariant: pure functions of the text. Options are found only where they are lettered from A on without a gap and in one
style; what cannot be read for certain is never guessed at.
"""

import re
from collections.abc import Sequence

from env.judging.rules import parse_choice
from env.judging.vocabulary import normalize
from env.task import MAX_OPTIONS

_STYLES = (r"\({}\)", r"{}\.(?=\s|$)", r"{}\)", r"{}:(?=\s|$)")
"""How an option is lettered: (A), A., A), A:."""
_LINE = r"(?:^|\n)[ \t]*"
_ANY_LETTER = re.compile(r"\n[ \t]*(?:\([A-Z]\)|[A-Z]\)|[A-Z][.:](?=\s|$))")
_HEADING = re.compile(r"\s*\b(?:options|choices|answer choices)\s*:\s*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n")
_INSTRUCTION = re.compile(
    r"(?:please\b|answer\b|respond\b|reply\b|provide\b|select\b|choose\b|pick\b|give\b|write\b|your answer\b)"
    r".*\b(?:letters?\b|given (?:options|choices)|(?:options|choices) (?:given|provided|below|above)"
    r"|(?:correct|right|best) (?:answer|option|choice)|single word|one word|word or phrase|few words"
    r"|short (?:phrase|answer|sentence)|one sentence|directly|briefly|concisely)\b.*",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"\(?([A-Z])(?:\)\s*|[.:]\s+)(\w.*)", re.DOTALL)


def split_options(text: str) -> tuple[str, tuple[str, ...] | None]:
    """The question of a text, and its options without letters; None where it has none.

    Options stand each on a line of its own, and may go on over several, or else all on one line. Sentences that only
    say in what form to answer are left out, of open questions too.

    Raises:
        ValueError: lines are lettered, but not as options are.
    """
    for gap in (_LINE, r"(?:^|\s)"):
        for style in _STYLES:
            found = _lettered(text, gap, style)
            if len(found) < 2:
                continue
            ends = [match.start() for match in found[1:]] + [len(text)]
            options = [text[match.end() : end] for match, end in zip(found, ends, strict=True)]
            if gap == _LINE and len(_ANY_LETTER.findall(f"\n{text}")) != len(found):
                raise ValueError("its options are not lettered from A on without a gap")
            options[-1] = without_instructions(options[-1].strip(), keep=1)
            question = _HEADING.sub("", text[: found[0].start()])
            return without_instructions(question), tuple(" ".join(option.split()) for option in options)
        if gap == _LINE and _ANY_LETTER.search(text):
            raise ValueError("its options are not lettered from A on in one style")
    return without_instructions(text), None


def without_letters(options: Sequence[str]) -> tuple[str, ...]:
    """The options' texts, their letters taken off if every one has its own: `A. red`, `B. blue`."""
    for style in _STYLES:
        found = [re.match(rf"\s*{style.format(re.escape(_letter(i)))}", option) for i, option in enumerate(options)]
        if all(found):
            return tuple(option[match.end() :] for option, match in zip(options, found, strict=True) if match)
    return tuple(options)


def answer_letter(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a data set's answer names: `B`, `B.`, `(B) red`, `red`.

    None if it names none, several, or a letter with the text of another option.
    """
    same = [_letter(i) for i, option in enumerate(options) if option == answer]
    if len(same) == 1 and not re.fullmatch("[A-Z]", answer):
        return same[0]
    labelled = _LABELLED.fullmatch(answer)
    if labelled is None or ord(labelled[1]) - ord("A") >= len(options):
        return parse_choice(answer, options)
    meant = [_letter(i) for i, option in enumerate(options) if normalize(option) == normalize(labelled[2])]
    return labelled[1] if labelled[1] in meant or not meant else None


def _letter(index: int) -> str:
    return chr(ord("A") + index)


def _lettered(text: str, gap: str, style: str) -> list[re.Match[str]]:
    """Where the options A, B, C … begin, in their order."""
    found: list[re.Match[str]] = []
    while len(found) < MAX_OPTIONS:
        marker = re.compile(rf"{gap}{style.format(_letter(len(found)))}")
        match = marker.search(text, found[-1].end() if found else 0)
        if match is None:
            break
        found.append(match)
    return found


def without_instructions(text: str, keep: int = 0) -> str:
    """The text on one line without its sentences on the form of the answer, unless they are all of it.

    The first `keep` sentences stay whatever they say.
    """
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(text)]
    kept = [text for i, text in enumerate(sentences) if i < keep or "?" in text or not _INSTRUCTION.fullmatch(text)]
    return " ".join(" ".join(kept if any(kept) else sentences).split())
