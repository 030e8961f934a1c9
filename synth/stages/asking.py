"""The stage before the first: questions for videos that came without any.

Invariant: a record that brought its own question gets past as it came.
"""

import asyncio
import dataclasses
from pathlib import Path

from configs import Config
from synth.motion.kept_tracks import tracks_of
from synth.motion.questions import questions_of
from synth.record import Record, Rejected
from synth.world.records import SOURCE as WORLD
from synth.world.records import world_questions


async def make_questions(record: Record, config: Config, tracks: Path | None = None) -> Record | list[Record]:
    """The record that brought its own question; else those of its world, or of what moves in its bare video, whose
    tracks are kept in the folder `tracks`.

    Raises:
        Rejected: nothing in the video can be asked about with a sure answer.
        VideoError: the video cannot be read, or its camera moves.
    """
    if record.question:
        return record
    if record.source == WORLD:
        return world_questions(record, config)
    most = config.synth.mixing.questions_per_video if record.split else config.synth.questions_per_video
    measured = await asyncio.to_thread(tracks_of, record.video, tracks)
    found = questions_of(record.video, record.id, measured, config.seed, most)
    if not found:
        raise Rejected("nothing that can be asked about for sure")
    return [dataclasses.replace(one, source=record.source, licence=record.licence, split=record.split) for one in found]
