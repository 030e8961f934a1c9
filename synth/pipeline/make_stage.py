"""Who does each stage, by config.

Invariant: a record that came with its target needs neither the text filter nor the verification, and gets past them.
"""

from pathlib import Path
from typing import Literal

from configs import Config
from configs.world import WorldConfig
from endpoint.endpoint import Endpoint, EndpointError
from synth.errors import SynthError
from synth.pipeline.worker import Stage
from synth.record import Record
from synth.segmenter import Segmenter
from synth.stages.asking import QuestionMaker
from synth.stages.marking import Marker
from synth.stages.masks import MaskStage
from synth.stages.rewriting import ModelRewriter, RuleRewriter
from synth.stages.sam3_segmenter import Sam3Segmenter
from synth.stages.text_filter import ModelTextFilter, RuleTextFilter
from synth.stages.verification import ModelVerifier
from synth.world.records import WorldVerifier
from synth.world.segmenter import WorldSegmenter

ANSWERS = "answers"
"""Folder of the models' replies, below the pipeline's."""
FRAMES = "frames"
"""Folder of the marked frames, below the pipeline's."""


class UnlessTargeted:
    """A stage that lets records with a target past."""

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
        SynthError: there is no such stage.
    """
    synth = config.synth
    match name:
        case "question":
            return QuestionMaker(config)
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


def segmenter_of(name: str, world: WorldConfig) -> Segmenter:
    """The segmenter of a name: `world` (the procedural world's own truth), `motion` (a fixed camera's footage, without
    weights), or the folder or hub id of a SAM 3 video model.

    Raises:
        ValueError: no name.
        TrackerError: SAM 3 cannot be loaded from there.
    """
    if name == "world":
        return WorldSegmenter(world)
    if name == "motion":
        from synth.motion.segmenter import MotionSegmenter

        return MotionSegmenter()
    if not name.strip():
        raise ValueError("no segmenter is named; choose 'world', 'motion', or a folder or hub id of SAM 3")
    return Sam3Segmenter(name)


def _model(config: Config, name: Literal["text_model", "video_model"], folder: Path) -> Endpoint:
    return Endpoint(getattr(config.synth, name), folder / ANSWERS, f"synth.{name}")


class NoModel:
    """A stage whose model the config does not name; not every source needs every stage."""

    def __init__(self, stage: str, key: str) -> None:
        self.stage, self._key = stage, key

    async def __call__(self, record: Record) -> Record:
        """Refuse the record.

        Raises:
            EndpointError: a record needs the stage.
        """
        key = f"synth.{self._key}.model"
        raise EndpointError(f"{record.id} needs the {self.stage} stage, whose model is not named; set {key}")
