"""Stage 4, the picture: a mark of one of the eight kinds on the frame in which the target is clearest.

Invariant: kind and strokes hang on the run's seed and the record's id alone, so a record is marked the same way
whenever and wherever it is marked; a picture is written whole or not at all.
"""

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from configs.synth import SynthConfig
from storage.files import whole_file
from synth.footage import TIMEOUT_S
from synth.record import Marked, Record
from synth.stages.masks import clearest
from synth.stages.rewriting import Rewriter, accepted
from synth.world.question import TARGETS
from tools.decoding.video import open_video
from tools.marks.drawing import draw
from tools.marks.rle import decode
from tools.marks.visual_prompt import Geometry


async def mark(record: Record, folder: Path, config: SynthConfig, rewriter: Rewriter, seed: int) -> Record:
    """The record with its target marked, by one of `config.prompt_kinds`, and asked about by the mark. The picture goes
    to `folder`, as `<record id>.png`."""
    assert record.target is not None
    rng = np.random.default_rng([seed, 13, *record.id.encode()])
    kind = str(rng.choice(config.prompt_kinds))
    if config.prompt_choice == "recommended" and record.target.prompt_kind in config.prompt_kinds:
        kind = str(record.target.prompt_kind)
    phrase = TARGETS[kind]
    question, options = accepted(record, await rewriter(record, phrase), phrase)
    path = folder / f"{record.id}.png"
    time_s, geometry = await asyncio.to_thread(_draw, record, kind, int(rng.integers(2**31)), path)
    return dataclasses.replace(record, marked=Marked(str(path), time_s, kind, geometry, question, options))


def _draw(record: Record, kind: str, seed: int, path: Path) -> tuple[float, Geometry]:
    mask = clearest(record.masks)
    video = open_video(record.video, TIMEOUT_S)
    [frame] = video.frames_at([mask.time_s], video.width * video.height, 1, TIMEOUT_S)
    pixels, geometry = draw(frame.pixels, kind, mask=decode(mask.rle), seed=seed)
    with whole_file(path) as partial:
        Image.fromarray(pixels).save(partial, "PNG")
    return float(frame.time_s), geometry
