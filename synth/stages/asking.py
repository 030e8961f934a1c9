"""The stage before the first: questions for videos that came without any.

Invariant: a record that brought its own question gets past as it came.
"""

import asyncio
import dataclasses

from configs import Config
from synth.motion.questions import questions_of
from synth.motion.segmenter import measure_tracks
from synth.record import Record, Rejected
from synth.world.records import SOURCE as WORLD
from synth.world.records import world_questions


async def make_questions(record: Record, config: Config) -> Record | list[Record]:
    """The record that brought its own question; else those of its world, or of what moves in its bare video.

    Raises:
        Rejected: nothing in the video can be asked about with a sure answer.
        VideoError: the video cannot be read, or its camera moves.
    """
    if record.question:
        return record
    if record.source == WORLD:
        return world_questions(record, config)
    tracks = await asyncio.to_thread(measure_tracks, record.video)
    found = questions_of(record.video, record.id, tracks, config.seed, config.synth.questions_per_video)
    if not found:
        raise Rejected("nothing that can be asked about for sure")
    return [dataclasses.replace(one, source=record.source, licence=record.licence) for one in found]
