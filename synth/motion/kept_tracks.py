"""Tracks that were measured once, kept in files: the stages, the teacher and new films of one run all want them.

Invariant: what is kept is of the very file that it is asked for of, by its path, size and time of change.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storage.files import whole_file
from synth.footage import TIMEOUT_S
from synth.motion.segmenter import measure_tracks
from synth.motion.track import Track
from tools.decoding.video import open_video

FOLDER = "tracks"
"""Beside the folder of a run's marked frames."""
ARRAYS = ("times", "boxes", "whole")
"""Fields of a track that are arrays."""


def tracks_of(video: str, folder: Path | None, timeout_s: float = TIMEOUT_S) -> tuple[Track, ...]:
    """The tracks of a video, from the folder's files where they are there, else measured and kept; without a folder
    they are measured. Raises as `measure_tracks` does."""
    if folder is None:
        return measure_tracks(video, timeout_s)
    stamp = open_video(video, timeout_s).stamp
    kept = folder / f"{hashlib.blake2b(repr((os.path.abspath(video), stamp)).encode(), digest_size=16).hexdigest()}.npz"
    if kept.exists():
        return _load(kept)
    tracks = measure_tracks(video, timeout_s)
    folder.mkdir(parents=True, exist_ok=True)
    _save(tracks, kept)
    return tracks


def tracks_beside(image: str) -> Path | None:
    """The folder of the tracks that belong to a marked frame; None where there is none."""
    folder = Path(image).parent.parent / FOLDER
    return folder if folder.is_dir() else None


def _save(tracks: Sequence[Track], path: Path) -> None:
    arrays: dict[str, Any] = {}
    rows = []
    for i, track in enumerate(tracks):
        row = {field.name: getattr(track, field.name) for field in dataclasses.fields(track)}
        arrays |= {f"{i}.{name}": row.pop(name) for name in ARRAYS}
        arrays[f"{i}.chroma"], arrays[f"{i}.light"] = row.pop("look")
        rows.append(row)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, rows=np.array(json.dumps(rows)), **arrays)


def _load(path: Path) -> tuple[Track, ...]:
    with np.load(path) as arrays:
        return tuple(
            Track(
                **{
                    **row,
                    "size": tuple(row["size"]),
                    "looked_at": tuple(row["looked_at"]),
                    "masks": tuple(row["masks"]),
                    **{name: arrays[f"{i}.{name}"] for name in ARRAYS},
                    "look": (arrays[f"{i}.chroma"], arrays[f"{i}.light"]),
                }
            )
            for i, row in enumerate(json.loads(str(arrays["rows"])))
        )
