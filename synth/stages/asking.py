"""The stage before the first: questions for videos that came without any.

Invariant: a record that brought its own question gets past as it came.
"""

import asyncio
import dataclasses

from configs import Config
from synth.record import Record, Rejected
from synth.world.records import SOURCE as WORLD
from synth.world.records import WorldQuestionMaker


class QuestionMaker:
    """Makes questions for records that came without one."""

    stage = "question"

    def __init__(self, config: Config) -> None:
        self._of_world, self._of_footage = WorldQuestionMaker(config), FootageQuestionMaker(config)

    async def __call__(self, record: Record) -> Record | list[Record]:
        """The questions that were made, or the record that brought its own."""
        if record.question:
            return record
        return await (self._of_world if record.source == WORLD else self._of_footage)(record)


class FootageQuestionMaker:
    """Makes questions of what moves in a bare video."""

    stage = "question"

    def __init__(self, config: Config) -> None:
        self._seed, self._most = config.seed, config.synth.questions_per_video

    async def __call__(self, record: Record) -> list[Record]:
        """Questions with their targets.

        Raises:
            Rejected: nothing in the video can be asked about with a sure answer.
            VideoError: the video cannot be read, or its camera moves.
        """
        from synth.motion.questions import questions_of
        from synth.motion.segmenter import measure_tracks

        measured = await asyncio.to_thread(measure_tracks, record.video)
        found = questions_of(record.video, record.id, measured.tracks, self._seed, self._most)
        if not found:
            raise Rejected("nothing that can be asked about for sure")
        return [dataclasses.replace(one, source=record.source, licence=record.licence) for one in found]
