"""`videoseeker synth inspect`: a page to look at what the synthesis made, self-contained.

Invariant: the same records are shown whenever it is made; what each stage rejected is shown beside what got through.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from PIL import Image

from pages.rendering import data_uri, render
from storage.files import write_text
from synth.errors import SynthError
from synth.output.datasheet import TITLES, Census
from synth.pipeline.run import ended, shards_of
from synth.record import STAGES, Record
from tools.decoding.video import VideoError, open_video
from tools.marks.rle import decode

SHOWN_PX = 420
"""Longest side of a picture."""
DIMMED = 0.3
"""Brightness of what is not the target where its mask is shown. A target of any colour stands out so, which a tint over
it would not give."""
SHOWN, REJECTED_SHOWN = 24, 6
"""Marked records shown, spread over all, and rejected ones of each stage."""


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


def write_gallery(work: Path, page: Path) -> Path:
    """Write the page of the stages below a folder, and return its path.

    Raises:
        SynthError: no run has ended there.
    """
    shards = shards_of(work)
    if shards is None:
        data = work.parent
        if (data / "train.jsonl").exists():
            raise SynthError(
                f"{data}: is of the procedural world, of which README.md tells there; only footage has a page"
            )
        raise SynthError(f"{data}: holds no synthesis that was finished")
    census = Census.of(ended(work, shards))
    shown = _drawn((r for r in ended(work, shards) if r.marked), census.marked, SHOWN)
    rejected = {}
    for stage in STAGES:
        went = (record for record in ended(work, shards) if record.rejected_by == stage)
        rejected[stage] = _drawn(went, census.rejected[stage].total(), REJECTED_SHOWN)
    samples = [_sample(record) for record in shown]
    values = {"name": work.parent.parent.name, "census": census, "titles": TITLES, "samples": samples}
    write_text(page, render(Path(__file__).with_name("gallery.html"), {**values, "rejected": rejected}))
    return page


def _drawn(records: Iterable[Record], total: int, count: int) -> list[Record]:
    chosen = set(np.random.default_rng(0).permutation(total)[:count].tolist())
    return [record for i, record in enumerate(records) if i in chosen]


def _sample(record: Record) -> Sample:
    assert record.marked is not None
    assert record.target is not None
    marked, target = record.marked, record.target
    try:
        video = open_video(record.video)
        [frame] = video.frames_at([marked.time_s], video.width * video.height, 1)
    except VideoError as error:
        raise SynthError(f"{record.id}: {error}") from None
    target_px = decode(record.marked_mask().rle)[..., None]
    overlay = np.where(target_px, frame.pixels, (DIMMED * frame.pixels).astype(np.uint8))
    whole = video.duration_s
    return Sample(
        record=record,
        marked_frame=data_uri(np.asarray(Image.open(marked.image).convert("RGB")), SHOWN_PX),
        mask=data_uri(overlay, SHOWN_PX),
        window=(100 * target.start_s / whole, 100 * (target.end_s - target.start_s) / whole),
        mark_at=100 * marked.time_s / whole,
        options=tuple((text, ascii_uppercase[i] == record.answer) for i, text in enumerate(marked.options or ())),
    )
