"""Stage 4, the words: the place of the target in a question becomes the phrase of its visual prompt.

Invariant: whoever writes, `accepted` decides: the phrase stands in the question, the options are the same options in
the same order, nothing that was asked is gone, and no word tells what the target is.
"""

import re
from collections.abc import Awaitable, Callable, Sequence

from endpoint.endpoint import Endpoint
from endpoint.schema import QUESTION_CHARS, object_of, text_of, texts_of
from env.task import MAX_OPTIONS
from synth.record import PLACE, Record, Rejected
from synth.stages.leaks import lost_words, named

Words = tuple[str, tuple[str, ...] | None]
"""A question and its options."""
Rewriter = Callable[[Record, str], Awaitable[Words]]
"""Gives a record's final question and options, a phrase in place of the target. It raises what an endpoint does."""

PROMPT = f"""You finish questions about a marked target in a video. In the question, and perhaps in its options, \
{PLACE} stands where the target was named. Put the given phrase there, and mend the grammar around it, so that it \
reads as a person would ask.

Use the phrase word by word at least once in the question; later it may be "it" or "the target". Change nothing else: \
no other word, no number, no order. Copy options without {PLACE} letter by letter. Say nothing of what the target is: \
no kind, name, sex, colour or clothing of it, and no "he" or "she"."""

SCHEMA = object_of(question=text_of(QUESTION_CHARS), options=texts_of(QUESTION_CHARS, MAX_OPTIONS))


async def rewrite_by_rules(record: Record, phrase: str) -> Words:
    """Put the phrase where the target was."""
    assert record.target is not None
    options = record.target.options
    return filled(record.target.question, phrase), options and tuple(filled(text, phrase) for text in options)


async def rewrite_by_model(record: Record, phrase: str, endpoint: Endpoint) -> Words:
    """Have a language model put the phrase there and mend the grammar."""
    assert record.target is not None
    lines = [f"Phrase: {phrase}", f"Question: {record.target.question}", "Options:", *(record.target.options or ())]
    reply = await endpoint.ask("mark", PROMPT, ["\n".join(lines)], SCHEMA)
    return " ".join(reply["question"].split()), tuple(reply["options"]) if record.target.options else None


def filled(text: str, phrase: str) -> str:
    """The text with the phrase in every place of the target, a capital where a sentence begins."""
    text = text.replace(PLACE, phrase)
    return re.sub(rf"(^|[.?!]\s+){re.escape(phrase)}", lambda m: m[1] + phrase[0].upper() + phrase[1:], text)


def accepted(record: Record, words: Words, phrase: str) -> Words:
    """The words, if they ask the same and give nothing away; else `Rejected` is raised."""
    assert record.target is not None
    question, options = words
    before = record.target.options
    if phrase.casefold() not in question.casefold():
        raise Rejected("rewriting: the phrase is missing")
    if not _same_options(before, options, phrase):
        raise Rejected("rewriting: an option changed")
    if lost_words(record.target.question, question):
        raise Rejected("rewriting: a part of the question is gone")
    if any(PLACE in text for text in (question, *(options or ()))):
        raise Rejected("rewriting: the mark's place was left open")
    if named(record.target, question, options, phrase):
        raise Rejected("rewriting: the target is named")
    return words


def _same_options(before: Sequence[str] | None, after: Sequence[str] | None, phrase: str) -> bool:
    if len(before or ()) != len(after or ()):
        return False
    pairs = zip(before or (), after or (), strict=True)
    return all((old == new) if PLACE not in old else phrase.casefold() in new.casefold() for old, new in pairs)
