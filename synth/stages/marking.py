"""Stage 4, the picture: a mark of one of the eight kinds on the frame in which the target is clearest.

Invariant: kind and strokes hang on the run's seed and the record's id alone, so a record is marked the same way
whenever and wherever it is marked; a picture is written whole or not at all.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from storage.files import whole_file
from synth.record import Marked, Record
from synth.rle import decode
from synth.stages.masks import clearest
from synth.stages.rewriting import Rewriter, accepted, phrase_of
from tools.decoding.video import TIMEOUT_S, open_video
from tools.marks.drawing import draw
from tools.marks.visual_prompt import Geometry


class Marker:
    """Marks a record's target and asks about it by its mark."""

    stage = "mark"

    def __init__(
        self,
        folder: str | Path,
        kinds: Sequence[str],
        choice: Literal["uniform", "recommended"],
        rewriter: Rewriter,
        seed: int,
    ) -> None:
        """Pictures go to `folder`, as `<record id>.png`.

        Args:
            kinds: of visual prompt, to choose among.
            choice: uniformly (the paper's), or the one that stage 2 recommends where it is among the kinds.
        """
        self._folder = Path(folder)
        self._kinds = tuple(kinds)
        self._choice = choice
        self._rewriter = rewriter
        self._seed = seed

    async def __call__(self, record: Record) -> Record:
        """The record, marked.

        Raises:
            Rejected: the rewritten question gives the target away or asks something else.
            VideoError: the video cannot be read.
            AnswerError, EndpointError, BudgetError: see `endpoint.endpoint`.
        """
        assert record.target is not None
        rng = np.random.default_rng([self._seed, 13, *record.id.encode()])
        kind = str(rng.choice(self._kinds))
        if self._choice == "recommended" and record.target.prompt_kind in self._kinds:
            kind = str(record.target.prompt_kind)
        phrase = phrase_of(kind)
        question, options = accepted(record, await self._rewriter.words(record, phrase), phrase)
        path = self._folder / f"{record.id}.png"
        time_s, geometry = await asyncio.to_thread(self._draw, record, kind, int(rng.integers(2**31)), path)
        return dataclasses.replace(record, marked=Marked(str(path), time_s, kind, geometry, question, options))

    def _draw(self, record: Record, kind: str, seed: int, path: Path) -> tuple[float, Geometry]:
        mask = clearest(record.masks)
        video = open_video(record.video)
        [frame] = video.frames_at([mask.time_s], video.width * video.height, 1, TIMEOUT_S)
        pixels, geometry = draw(frame.pixels, kind, mask=decode(mask.rle), seed=seed)
        with whole_file(path) as partial:
            Image.fromarray(pixels).save(partial, "PNG")
        return float(frame.time_s), geometry
