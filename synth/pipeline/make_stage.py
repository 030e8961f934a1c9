"""Who does each stage, by config.

Invariant: a record that came with its target needs neither the text filter nor the verification, and gets past them.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from configs import Config
from configs.world import WorldConfig
from endpoint.endpoint import Endpoint, EndpointError
from synth.errors import SynthError
from synth.motion.kept_tracks import FOLDER as TRACKS
from synth.motion.kept_tracks import tracks_of
from synth.motion.segmenter import MotionSegmenter
from synth.pipeline.worker import Stage
from synth.record import Record
from synth.segmenter import Segmenter
from synth.stages.asking import make_questions
from synth.stages.marking import mark
from synth.stages.masks import find_masks
from synth.stages.rewriting import Rewriter, rewrite_by_model, rewrite_by_rules
from synth.stages.sam3_segmenter import Sam3Segmenter
from synth.stages.text_filter import filter_by_model, filter_by_rules
from synth.stages.verification import verify_by_model
from synth.world.records import verify_by_world
from synth.world.segmenter import WorldSegmenter

ANSWERS = "answers"
"""Folder of the models' replies, below the pipeline's."""
FRAMES = "frames"
"""Folder of the marked frames, below the pipeline's."""


def make_stage(name: str, config: Config, folder: Path) -> Stage:
    """A stage of `synth.record.STAGES`, ready to work.

    Raises:
        SynthError: there is no such stage.
    """
    synth = config.synth
    match name:
        case "question":
            return partial(make_questions, config=config, tracks=folder / TRACKS)
        case "text" if synth.text_filter == "rules":
            return _unless_targeted(filter_by_rules)
        case "text" if synth.text_model.model:
            return _unless_targeted(partial(filter_by_model, endpoint=_model(config, "text_model", folder)))
        case "video" if synth.verifier == "world":
            return _unless_targeted(partial(verify_by_world, config=config.world))
        case "video" if synth.video_model.model:
            model, turns = _model(config, "video_model", folder), asyncio.Semaphore(synth.video_model.concurrency)
            verify = partial(verify_by_model, endpoint=model, config=synth.video_model, turns=turns)
            return _unless_targeted(verify)
        case "text" | "video":
            return _unless_targeted(partial(_no_model, stage=name))
        case "mask":
            segmenter = segmenter_of(synth.segmenter, config.world, folder / TRACKS)
            return partial(asyncio.to_thread, partial(find_masks, segmenter=segmenter, config=synth.masks))
        case "mark":
            frames = folder / FRAMES
            frames.mkdir(parents=True, exist_ok=True)
            rewriter: Rewriter = rewrite_by_rules
            if synth.rewriter == "model":
                rewriter = partial(rewrite_by_model, endpoint=_model(config, "text_model", folder))
            return partial(mark, folder=frames, config=synth, rewriter=rewriter, seed=config.seed)
    raise SynthError(f"no stage '{name}'")


def _unless_targeted(stage: Stage) -> Stage:
    """The stage, past which records with a target get as they came."""

    async def stage_or_past(record: Record) -> Record | Sequence[Record]:
        return record if record.target else await stage(record)

    return stage_or_past


async def _no_model(record: Record, stage: str) -> Record:
    """Refuse a record that needs a stage whose model the config does not name; not every source needs every stage."""
    key = f"synth.{stage}_model.model"
    raise EndpointError(f"{record.id} needs the {stage} stage, whose model is not named; set {key}")


def segmenter_of(name: str, world: WorldConfig, tracks: Path | None = None) -> Segmenter:
    """The segmenter of a name: `world` (the procedural world's own truth), `motion` (a fixed camera's footage, without
    weights), or the folder or hub id of a SAM 3 video model. Tracks that were measured are kept in the folder `tracks`.

    Raises:
        ValueError: no name.
        TrackerError: SAM 3 cannot be loaded from there.
    """
    if name == "world":
        return WorldSegmenter(world)
    if name == "motion":
        return MotionSegmenter(lambda video, timeout_s: tracks_of(video, tracks, timeout_s))
    if not name.strip():
        raise ValueError("no segmenter is named; choose 'world', 'motion', or a folder or hub id of SAM 3")
    return Sam3Segmenter(name)


def _model(config: Config, name: Literal["text_model", "video_model"], folder: Path) -> Endpoint:
    return Endpoint(getattr(config.synth, name), folder / ANSWERS, f"synth.{name}")
