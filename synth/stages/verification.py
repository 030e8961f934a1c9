"""Stage 2: is there one such instance in the video, when does it matter, and how is it asked about without naming it?

Invariant: what a model said is used only after `checked` has held it against the record: a window inside the video, a
tag that a segmenter can use, options that mean what they meant, and a question from which the target's name is gone.
"""

import asyncio
import dataclasses
from typing import Any

from configs.endpoint import EndpointConfig
from configs.world import PROMPT_KINDS
from endpoint.endpoint import Endpoint
from endpoint.schema import PHRASE_CHARS, QUESTION_CHARS
from env.judging.rules import parse_choice
from env.task import MAX_OPTIONS
from synth.footage import footage
from synth.record import PLACE, Record, Rejected, Target
from synth.stages.leaks import changed_options, named
from tools.decoding.video import open_video

TAG_WORDS = (3, 10)
"""Fewest and most words of a tag (paper, section 3.2, stage 2)."""
WINDOW_STEP_S = 0.1
"""Windows are said to a tenth of a second; one may end that much after the video."""

PROMPT = f"""You check questions about videos, so that each can be asked by drawing a mark on its target instead of \
naming it. You see a video as frames with their times, a question, perhaps options, and the right answer. Go step \
by step.

1. Target. Find the one person, animal or object that the question asks about. It must be in sight, and in the stretch \
that matters no other may fit the question's words as well. If there is none, if several fit, or if you are not sure: \
is_valid is false.
2. Tag. Describe it in {TAG_WORDS[0]} to {TAG_WORDS[1]} words by what does not change: kind, colours, clothing, size. \
No actions, no positions. Another program will find it by this tag alone.
3. Stretch. Give the one stretch of time in which the evidence for the answer lies and the target is seen, in seconds \
with one decimal.
4. Question. Write it again with {PLACE} wherever the target is named, by noun or by pronoun, and without any other \
word that tells what it is. Change nothing else. Do the same in those options that name the target; copy the others \
letter by letter, in their order. The right answer stays the same one.
5. Mark. Choose the kind of mark that would show this target best.

If a step fails, say why in a few words, and leave the rest empty."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "is_valid": {"type": "boolean"},
        "reason": {"type": "string", "maxLength": PHRASE_CHARS},
        "target_description": {"type": "string", "maxLength": PHRASE_CHARS},
        "tag": {"type": "string", "maxLength": PHRASE_CHARS},
        "timestamp": {
            "type": "object",
            "properties": {"start": {"type": "number"}, "end": {"type": "number"}},
            "required": ["start", "end"],
            "additionalProperties": False,
        },
        "rewritten_question": {"type": "string", "maxLength": QUESTION_CHARS},
        "rewritten_options": {
            "type": "array",
            "items": {"type": "string", "maxLength": QUESTION_CHARS},
            "maxItems": MAX_OPTIONS,
        },
        "rewritten_answer": {"type": "string", "maxLength": QUESTION_CHARS},
        "visual_prompt_type": {"type": "string", "enum": list(PROMPT_KINDS)},
    },
    "required": [
        "is_valid",
        "reason",
        "target_description",
        "tag",
        "timestamp",
        "rewritten_question",
        "rewritten_options",
        "rewritten_answer",
        "visual_prompt_type",
    ],
    "additionalProperties": False,
}
"""The paper's fields."""


def checked(record: Record, said: dict[str, Any], duration_s: float) -> Target:
    """The target as a model found it, where all that it said can be used.

    Args:
        said: a reply that fits `SCHEMA`.
        duration_s: the video's, seconds.

    Raises:
        Rejected: the model rejects the record, or part of the reply cannot be used.
    """
    if not said["is_valid"]:
        raise Rejected("no target that is the only one")
    tag, question = " ".join(said["tag"].split()), " ".join(said["rewritten_question"].split())
    start_s, end_s = said["timestamp"]["start"], said["timestamp"]["end"]
    options = tuple(said["rewritten_options"]) if record.options else None
    if not TAG_WORDS[0] <= len(tag.split()) <= TAG_WORDS[1]:
        raise Rejected(f"tag: not {TAG_WORDS[0]} to {TAG_WORDS[1]} words")
    if not said["target_description"].strip():
        raise Rejected("target: not described")
    if not 0 <= start_s < end_s <= duration_s + WINDOW_STEP_S:
        raise Rejected("window: not a stretch of the video")
    if PLACE not in question:
        raise Rejected("question: no place for the mark")
    if wrong := changed_options(record.options, options):
        raise Rejected(f"options: {wrong}")
    if record.options and options and not _names_right(said["rewritten_answer"], record, options):
        raise Rejected("answer: changed")
    target = Target(
        description=said["target_description"].strip(),
        tag=tag,
        start_s=float(start_s),
        end_s=float(min(end_s, duration_s)),
        question=question,
        options=options,
        prompt_kind=said["visual_prompt_type"],
    )
    if named(target, question, options):
        raise Rejected("question: the target is named")
    return target


class ModelVerifier:
    """Stage 2 by a vision-language model."""

    stage = "video"

    def __init__(self, endpoint: Endpoint, config: EndpointConfig) -> None:
        self._endpoint = endpoint
        self._config = config
        # A video's frames are held in memory until it is answered.
        self._turns = asyncio.Semaphore(config.concurrency)

    async def __call__(self, record: Record) -> Record:
        """The record with its target.

        Raises:
            Rejected: there is no one target, or the reply cannot be used.
            VideoError: the video cannot be read.
            AnswerError, EndpointError, BudgetError: see `endpoint.endpoint`.
        """
        video = await asyncio.to_thread(open_video, record.video)
        lettered = [f"{chr(ord('A') + i)}. {option}" for i, option in enumerate(record.options or ())]
        asked = "\n".join([f"Question: {record.question}", *lettered, f"Right answer: {record.answer}"])
        async with self._turns:
            seen = await asyncio.to_thread(footage, self._config, record.video, 0.0, video.duration_s)
            said = await self._endpoint.ask(self.stage, PROMPT, [*seen, asked], SCHEMA)
        return dataclasses.replace(record, target=checked(record, said, video.duration_s))


def _names_right(said: str, record: Record, options: tuple[str, ...]) -> bool:
    """Whether an answer, if one is given, names the right option by its letter or its old or new text."""
    return not said.strip() or record.answer in (parse_choice(said, options), parse_choice(said, record.options or ()))
