"""`videoseeker synth inspect`: a page to look at what the synthesis made, self-contained.

Invariant: which records are shown hangs on the seed alone; what each stage rejected is shown beside what got through.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pages.rendering import data_uri, render
from storage.files import write_text
from synth.errors import SynthError
from synth.output.datasheet import TITLES, Census
from synth.pipeline.run import ended, shards_of
from synth.record import STAGES, Record
from synth.rle import decode
from tools.decoding.video import VideoError, open_video

SHOWN_PX = 420
"""Longest side of a picture."""
DIMMED = 0.3
"""Brightness of what is not the target where its mask is shown. A target of any colour stands out so, which a tint over
it would not give."""
REJECTED_SHOWN = 6
"""Rejected records shown of each stage."""


@dataclass(frozen=True)
class Sample:
    """What the page shows of one marked record."""

    record: Record
    marked_frame: str
    """Data URI."""
    mask: str
    """Data URI of the frame with the target's mask over it."""
    window: tuple[float, float]
    """Start and length of the target's stretch, percent of the video."""
    mark_at: float
    """Time of the mark, percent of the video."""
    options: tuple[tuple[str, bool], ...]
    """The options, and whether each is right."""


def write_gallery(work: Path, page: Path, count: int = 24, seed: int = 0) -> Path:
    """Write the page of a run's stages.

    Args:
        work: the folder of the stages.
        count: marked records shown, spread over all.

    Returns:
        The page.

    Raises:
        SynthError: no run has ended there.
    """
    shards = shards_of(work)
    if shards is None:
        raise SynthError(f"{work}: holds no synthesis that was finished")
    census = Census.of(ended(work, shards))
    shown = _drawn((r for r in ended(work, shards) if r.marked), census.marked, count, seed)
    rejected = {
        stage: _drawn(
            (r for r in ended(work, shards) if r.rejected_by == stage),
            census.rejected[stage].total(),
            REJECTED_SHOWN,
            seed,
        )
        for stage in STAGES
    }
    values = {
        "name": work.parent.parent.name,
        "census": census,
        "titles": TITLES,
        "samples": [_sample(record) for record in shown],
        "rejected": rejected,
    }
    write_text(page, render(Path(__file__).with_name("gallery.html"), values))
    return page


def _drawn(records: Iterable[Record], total: int, count: int, seed: int) -> list[Record]:
    chosen = set(np.random.default_rng(seed).permutation(total)[:count].tolist())
    return [record for i, record in enumerate(records) if i in chosen]


def _sample(record: Record) -> Sample:
    assert record.marked is not None
    assert record.target is not None
    marked, target = record.marked, record.target
    mask = next(mask for mask in record.masks if abs(mask.time_s - marked.time_s) < 1e-6)
    try:
        video = open_video(record.video)
        [frame] = video.frames_at([marked.time_s], video.width * video.height, 1)
    except VideoError as error:
        raise SynthError(f"{record.id}: {error}") from None
    overlay = np.where(decode(mask.rle)[..., None], frame.pixels, (DIMMED * frame.pixels).astype(np.uint8))
    whole = video.duration_s
    return Sample(
        record=record,
        marked_frame=data_uri(np.asarray(Image.open(marked.image).convert("RGB")), SHOWN_PX),
        mask=data_uri(overlay, SHOWN_PX),
        window=(100 * target.start_s / whole, 100 * (target.end_s - target.start_s) / whole),
        mark_at=100 * marked.time_s / whole,
        options=_options(record.answer, marked.options or ()),
    )


def _options(answer: str, options: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    return tuple((text, chr(ord("A") + i) == answer) for i, text in enumerate(options))
