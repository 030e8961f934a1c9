"""Who does each stage, by config.

Invariant: a record that came with its target needs neither the text filter nor the verification, and gets past them.
"""

import asyncio
import dataclasses
from pathlib import Path
from typing import Literal

from configs import Config
from endpoint.endpoint import Endpoint, EndpointError
from synth.errors import SynthError
from synth.pipeline.worker import Stage
from synth.record import Record, Rejected
from synth.stages.marking import Marker
from synth.stages.masks import MaskStage
from synth.stages.rewriting import ModelRewriter, RuleRewriter
from synth.stages.segmenter_choice import segmenter_of
from synth.stages.text_filter import ModelTextFilter, RuleTextFilter
from synth.stages.verification import ModelVerifier
from synth.world.records import SOURCE as WORLD
from synth.world.records import WorldQuestions, WorldVerifier

ANSWERS = "answers"
"""Folder of the models' replies, below the pipeline's."""
FRAMES = "frames"
"""Folder of the marked frames, below the pipeline's."""


class Unasked:
    """Makes questions for records that came without one."""

    stage = "question"

    def __init__(self, config: Config) -> None:
        self._of_world, self._of_footage = WorldQuestions(config), FootageQuestions(config)

    async def __call__(self, record: Record) -> Record | list[Record]:
        """The questions that were made, or the record that brought its own."""
        if record.question:
            return record
        return await (self._of_world if record.source == WORLD else self._of_footage)(record)


class FootageQuestions:
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


class UnlessTargeted:
    """A stage that records with a target get past."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage.stage
        self._stage = stage

    async def __call__(self, record: Record) -> Record:
        """What the stage makes of it, or the record as it came."""
        made = record if record.target else await self._stage(record)
        assert isinstance(made, Record)
        return made


def make_stage(name: str, config: Config, folder: Path) -> Stage:
    """A stage of `synth.record.STAGES`, ready to work.

    Raises:
        SynthError: the config names somebody that there is not.
    """
    synth = config.synth
    match name:
        case "question":
            return Unasked(config)
        case "text":
            if synth.text_filter == "rules":
                return UnlessTargeted(RuleTextFilter())
            if not synth.text_model.model:
                return UnlessTargeted(NoModel(name, "text_model"))
            return UnlessTargeted(ModelTextFilter(_model(config, "text_model", folder)))
        case "video":
            if synth.verifier == "world":
                return UnlessTargeted(WorldVerifier(config.world))
            if not synth.video_model.model:
                return UnlessTargeted(NoModel(name, "video_model"))
            return UnlessTargeted(ModelVerifier(_model(config, "video_model", folder), synth.video_model))
        case "mask":
            return MaskStage(segmenter_of(synth.segmenter, config.world), synth.masks)
        case "mark":
            (folder / FRAMES).mkdir(parents=True, exist_ok=True)
            by_rules = synth.rewriter == "rules"
            rewriter = RuleRewriter() if by_rules else ModelRewriter(_model(config, "text_model", folder))
            return Marker(folder / FRAMES, synth.prompt_kinds, synth.prompt_choice, rewriter, config.seed)
    raise SynthError(f"no stage '{name}'")


def _model(config: Config, name: Literal["text_model", "video_model"], folder: Path) -> Endpoint:
    return Endpoint(getattr(config.synth, name), folder / ANSWERS, f"synth.{name}")


class NoModel:
    """A stage whose model nobody has named. Not every source needs every stage."""

    def __init__(self, stage: str, key: str) -> None:
        self.stage, self._key = stage, key

    async def __call__(self, record: Record) -> Record:
        """Nothing.

        Raises:
            EndpointError: a record needs the stage.
        """
        key = f"synth.{self._key}.model"
        raise EndpointError(f"{record.id} needs the {self.stage} stage, whose model is not named; set {key}")
