"""Stage 2: is there one such instance in the video, when does it matter, and how is it asked about without naming it?

Invariant: a model's reply is used only after `checked` has held it against the record: a window inside the video, a tag
that a segmenter can use, options that mean what they meant, and a question from which the target's name is gone.
"""

import asyncio
import dataclasses

from configs.endpoint import EndpointConfig
from configs.world import PROMPT_KINDS
from endpoint.endpoint import Endpoint
from endpoint.schema import PHRASE_CHARS, QUESTION_CHARS, object_of, text_of, texts_of
from env.judging.rules import parse_choice
from env.task import MAX_OPTIONS
from storage.files import JsonObject
from synth.footage import TIMEOUT_S, footage
from synth.record import PLACE, Record, Rejected, Target
from synth.stages.leaks import changed_options, named
from tools.decoding.video import open_video

TAG_WORDS = (3, 10)
"""Fewest and most words of a tag (paper, section 3.2, stage 2)."""
WINDOW_STEP_S = 0.1
"""Windows are given to a tenth of a second; one may end that much after the video."""

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

SCHEMA = object_of(
    is_valid={"type": "boolean"},
    reason=text_of(PHRASE_CHARS),
    target_description=text_of(PHRASE_CHARS),
    tag=text_of(PHRASE_CHARS),
    timestamp=object_of(start={"type": "number"}, end={"type": "number"}),
    rewritten_question=text_of(QUESTION_CHARS),
    rewritten_options=texts_of(QUESTION_CHARS, MAX_OPTIONS),
    rewritten_answer=text_of(QUESTION_CHARS),
    visual_prompt_type={"type": "string", "enum": list(PROMPT_KINDS)},
)
"""The paper's fields."""


def checked(record: Record, reply: JsonObject, duration_s: float) -> Target:
    """The target as a model found it, where all of its reply can be used.

    Args:
        reply: one that fits `SCHEMA`.
        duration_s: the video's, seconds.

    Raises:
        Rejected: the model rejects the record, or part of the reply cannot be used.
    """
    if not reply["is_valid"]:
        raise Rejected("no target that is the only one")
    tag, question = " ".join(reply["tag"].split()), " ".join(reply["rewritten_question"].split())
    start_s, end_s = reply["timestamp"]["start"], reply["timestamp"]["end"]
    options = tuple(reply["rewritten_options"]) if record.options else None
    if not TAG_WORDS[0] <= len(tag.split()) <= TAG_WORDS[1]:
        raise Rejected(f"tag: not {TAG_WORDS[0]} to {TAG_WORDS[1]} words")
    if not reply["target_description"].strip():
        raise Rejected("target: not described")
    if not 0 <= start_s < end_s <= duration_s + WINDOW_STEP_S:
        raise Rejected("window: not a stretch of the video")
    if PLACE not in question:
        raise Rejected("question: no place for the mark")
    if wrong := changed_options(record.options, options):
        raise Rejected(f"options: {wrong}")
    named_options = [parse_choice(reply["rewritten_answer"], texts) for texts in (options or (), record.options or ())]
    if options and reply["rewritten_answer"].strip() and record.answer not in named_options:
        raise Rejected("answer: changed")
    target = Target(
        description=reply["target_description"].strip(),
        tag=tag,
        start_s=float(start_s),
        end_s=float(min(end_s, duration_s)),
        question=question,
        options=options,
        prompt_kind=reply["visual_prompt_type"],
    )
    if named(target, question, options):
        raise Rejected("question: the target is named")
    return target


async def verify_by_model(
    record: Record, endpoint: Endpoint, config: EndpointConfig, turns: asyncio.Semaphore
) -> Record:
    """Stage 2 by a vision-language model: the record with its target.

    Args:
        turns: bounds how many videos' frames are held in memory until they are answered.
    """
    video = await asyncio.to_thread(open_video, record.video, TIMEOUT_S)
    asked = "\n".join([f"Question: {record.question}", *record.lettered(), f"Right answer: {record.answer}"])
    async with turns:
        seen = await asyncio.to_thread(footage, config, video)
        reply = await endpoint.ask("video", PROMPT, [*seen, asked], SCHEMA)
    return dataclasses.replace(record, target=checked(record, reply, video.duration_s))
