"""Films put together anew from those of the training side, made by a Ray Data pipeline.

Invariant: a film that is there is not made again, and two runs with one seed make equal files.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np

from actors.errors import sentence
from configs import Config
from synth.errors import SynthError, raise_first
from synth.motion.background import MovingCameraError
from synth.motion.cut_outs import FilmParts, cut_apart
from synth.motion.kept_tracks import FOLDER as TRACKS
from synth.motion.kept_tracks import tracks_of
from synth.motion.mixing import write_mixed
from synth.motion.questions import SOURCE
from synth.record import Record
from tools.decoding.frame import DecoderError, VideoError

SPLITS = ("train", "rl")
"""What a new film may be for."""
FOLDER = "mixed"
"""Below the folder of the stages."""
MIXED_FROM = 8
"""Films that the things of a new one are taken from, at most."""


class ApartRow(TypedDict):
    """A film that is taken apart: the file of its parts, empty where it has none, and the error that ended that."""

    parts: str
    things: int
    size: tuple[int, int]
    error: str


class MixedRow(TypedDict):
    """A film that is put together, and the error that kept it from that, if any."""

    split: str
    index: int
    error: str


def mixed_records(videos: Sequence[str], config: Config, work: Path) -> Iterator[Record]:
    """Records without a question of new films, made below `work` of what moves in some videos.

    Raises:
        SynthError: nothing that moves could be cut out of any of them, a film could not be written, or none can be
            read here at all.
    """
    import ray.data

    folder, mixing = work / FOLDER, config.synth.mixing
    folder.mkdir(parents=True, exist_ok=True)
    films = [{"video": video, "index": index} for index, video in enumerate(videos)]
    apart = ray.data.from_items(films).map(_take_apart, fn_args=(folder / "parts", work / TRACKS)).take_all()
    raise_first(row["error"] for row in apart)
    found = sorted((row for row in apart if row["parts"]), key=lambda row: row["parts"])
    if not any(row["things"] for row in found):
        raise SynthError(_nothing_found(len(videos), config))
    counts = zip(SPLITS, (mixing.films, mixing.rl_films), strict=True)
    new = [MixedRow(split=split, index=i, error="") for split, count in counts for i in range(count)]
    made = ray.data.from_items(new).map(_put_together, fn_args=(found, config.seed, folder, work / TRACKS)).take_all()
    raise_first(row["error"] for row in made)
    for row in new:
        name = _name(row)
        path = str(folder / f"{name}.mp4")
        yield Record(name, SOURCE, path, "", "", licence=config.synth.licence, split=row["split"])


def _nothing_found(films: int, config: Config) -> str:
    if not films:
        fraction = config.synth.test_fraction
        return (
            "synth.mixing: makes new films of those that are not held out, and there is none; what cannot be read "
            f"is in bad_rows.jsonl, and each other film is held out with the chance synth.test_fraction={fraction:g}"
        )
    return (
        f"synth.mixing: nothing that moves before a fixed camera was found in {films} films; with synth.mixing.films=0 "
        "and synth.mixing.rl_films=0, rejected.jsonl says of each why"
    )


def _name(row: MixedRow) -> str:
    return f"mixed-{row['split']}-{row['index']:05d}"


def _take_apart(row: dict[str, str | int], parts: Path, tracks: Path) -> ApartRow:
    """A film of which nothing can be cut out, or that cannot be read, has no parts: the stages tell why."""
    video, kept = str(row["video"]), parts / f"{row['index']:05d}.npz"
    none = ApartRow(parts="", things=0, size=(0, 0), error="")
    try:
        film = cut_apart(video, tracks_of(video, tracks))
        if film is None:
            return none
        kept.parent.mkdir(exist_ok=True)
        film.save(kept)
    except Exception as error:  # noqa: BLE001 - Ray Data passes on no error's class: the driver raises it
        unfit = isinstance(error, VideoError) and not isinstance(error, DecoderError)
        return none if unfit else {**none, "error": f"{video}: {sentence(error)}"}
    height, width = film.background.shape[:2]
    return ApartRow(parts=str(kept), things=len(film.things), size=(width, height), error="")


def _put_together(row: MixedRow, found: Sequence[ApartRow], seed: int, folder: Path, tracks: Path) -> MixedRow:
    """It is measured here, where all cores are at it; the stages reject what does not look like a fixed camera's."""
    path = folder / f"{_name(row)}.mp4"
    try:
        if not path.exists():
            rng = np.random.default_rng([seed, SPLITS.index(row["split"]), row["index"]])
            write_mixed([_loaded(Path(parts)) for parts in _chosen(found, rng)], rng, path)
        with suppress(MovingCameraError):
            tracks_of(str(path), tracks)
    except Exception as error:  # noqa: BLE001 - Ray Data passes on no error's class: the driver raises it
        return {**row, "error": f"{path.name}: {sentence(error)}"}
    return row


_loaded = lru_cache(maxsize=MIXED_FROM + 1)(FilmParts.load)


def _chosen(found: Sequence[ApartRow], rng: np.random.Generator) -> list[str]:
    """Some films of one size, of which at least one has a thing; the first gives the background."""
    things = [film for film in found if film["things"]]
    one = things[int(rng.integers(len(things)))]
    fitting = [film for film in found if tuple(film["size"]) == tuple(one["size"])]
    others = rng.permutation(len(fitting))[:MIXED_FROM]
    return [*(fitting[i]["parts"] for i in others), one["parts"]]
