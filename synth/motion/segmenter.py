"""Tracks of what moves before a fixed camera, measured without any learned weights, and a segmenter made of them.

Invariants: the same file gives the same tracks, with the same ids; frames are streamed, so memory goes with what moves
and not with the length of the video.
"""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from cachetools import LRUCache

from synth.footage import TIMEOUT_S
from synth.motion.background import Background, MovingCameraError
from synth.motion.blob_tracker import BlobTracker
from synth.motion.blobs import find_blobs
from synth.motion.colour_names import COLOURS, name_colour
from synth.motion.thing import Thing
from synth.motion.track import Track, entered
from synth.record import Record
from synth.segmenter import SegmentedInstance
from tools.decoding.frame import BusyError, Stamp
from tools.decoding.video import Video, open_video
from tools.marks.rle import encode

LOOKS_PER_S = 10.0
"""Most looks a second."""
MAX_PIXELS = 384 * 288
"""Size of the frames that are looked at."""
SAMPLES = 49
"""Frames, spread over the video, from which the background is learned."""
FEWEST_LOOKS = 8
"""A video with fewer frames shows no motion."""
SHORTEST = 4
"""Looks of the shortest track; less is noise."""
KEPT_VIDEOS = 8
"""Videos whose tracks a segmenter keeps."""
UNFIT = 0.5
"""Factor of the score of a track for each word of the tag that does not fit it."""


def measure_tracks(path: str, timeout_s: float = TIMEOUT_S) -> tuple[Track, ...]:
    """What moves in a video that a fixed camera took, by the first looks; none where nothing moves, or in a few frames.

    Raises:
        MovingCameraError: the picture moves as a whole, or is cut together from several.
        VideoError: the video cannot be read.
        DeadlineError: it took longer than `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    video = open_video(path, timeout_s)
    times = _spaced(video.times, 1.0 / LOOKS_PER_S)
    if len(times) < FEWEST_LOOKS:
        return ()
    spread = times[np.unique(np.linspace(0, len(times) - 1, SAMPLES).round().astype(int))]
    samples = video.scan(spread.tolist(), MAX_PIXELS, max(0.0, deadline - time.monotonic()))
    background = Background([frame for _, frame in samples])
    if how := background.moves:
        raise MovingCameraError(
            f"{path}: not taken by one fixed camera ({how}); take tracks from still footage, or masks from a model"
        )
    tracker, last_s, size = BlobTracker(), float(times[0]), (0, 0)
    for time_s, frame in video.scan(times.tolist(), MAX_PIXELS, max(0.0, deadline - time.monotonic())):
        found, even = background.stands_out(frame, time_s - last_s)
        tracker.step(time_s, find_blobs(found, even), even)
        last_s, size = time_s, (frame.shape[1], frame.shape[0])
    step_s = float(np.median(np.diff(times)))
    things = [thing for thing in tracker.finish() if len(thing.blobs) >= SHORTEST]
    return tuple(_track(i, thing, video, size, times, step_s) for i, thing in enumerate(things))


class MotionSegmenter:
    """Things that move before a fixed camera. No learned weights: a tag's colour, `small`, `large`, `left` and `right`
    are all that it understands. Thread-safe; a video is measured once.

    A record that was made from a track, and names it in `facts["track"]`, gets that very track.
    """

    def __init__(self, measure: Callable[[str, float], tuple[Track, ...]] = measure_tracks) -> None:
        """`measure` gives the tracks of a video in time."""
        self._measure = measure
        self._known: LRUCache[tuple[str, Stamp], tuple[Track, ...]] = LRUCache(KEPT_VIDEOS)
        self._lock = threading.Lock()

    def instances(self, record: Record, times: Sequence[float], timeout_s: float) -> list[SegmentedInstance]:
        """See `Segmenter`. Also raises `MovingCameraError`, a `VideoError`."""
        tracks: Sequence[Track] = self._tracks(record.video, timeout_s)
        if "track" in record.facts:
            tracks = [track for track in tracks if track.id == record.facts["track"]]
            words: list[str] = []
        else:
            words = record.target.tag.lower().replace(",", " ").split() if record.target else []
        colours = {"grey" if word == "gray" else word for word in words} & set(COLOURS)
        found = []
        for track in tracks:
            masks = tuple(track.mask_at(time_s) for time_s in times)
            if any(mask is not None for mask in masks) and (not colours or track.colour in colours):
                found.append(SegmentedInstance(masks, track.quality * UNFIT ** _unfit(track, tracks, words, times)))
        return sorted(found, key=lambda instance: -instance.score)

    def _tracks(self, path: str, timeout_s: float) -> tuple[Track, ...]:
        deadline = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            raise BusyError(f"{path}: waiting for the tracks of another video took longer than {timeout_s:g} s")
        try:
            key = path, open_video(path, timeout_s).stamp
            if key not in self._known:
                self._known[key] = self._measure(path, max(0.0, deadline - time.monotonic()))
            return self._known[key]
        finally:
            self._lock.release()


def _spaced(times: np.ndarray, step_s: float) -> np.ndarray:
    """The times that are at least nearly a step apart."""
    kept = [float(times[0])]
    for time_s in times.tolist():
        if time_s - kept[-1] >= step_s * 0.99:
            kept.append(time_s)
    return np.array(kept)


def _track(i: int, thing: Thing, video: Video, size: tuple[int, int], times: np.ndarray, step_s: float) -> Track:
    found = np.array([time_s for time_s, _ in thing.blobs])
    blobs = [blob for _, blob in thing.blobs]
    scale = np.array([video.width / size[0], video.height / size[1]] * 2)
    whole = [blob.colours for blob in blobs if not blob.touches] or [blob.colours for blob in blobs]
    colour, colour_share = name_colour(np.sum(whole, axis=0))
    share = len(found) / max(1, int(((times >= found[0]) & (times <= found[-1])).sum()))
    return Track(
        id=i,
        size=(video.width, video.height),
        looked_at=size,
        step_s=step_s,
        times=found,
        boxes=np.array([blob.box for blob in blobs], float) * scale,
        whole=np.array([not blob.touches for blob in blobs]),
        masks=tuple(encode(blob.whole(size[1], size[0])) for blob in blobs),
        colour=colour,
        colour_share=colour_share,
        look=thing.look,
        starts=thing.starts,
        ends=thing.ends,
        enters=entered(blobs) if thing.starts == "border" else "",
        leaves=entered(blobs[::-1]) if thing.ends == "border" else "",
        quality=min(1.0, share) * float(np.mean(thing.alike)),
    )


def _unfit(track: Track, tracks: Sequence[Track], words: Sequence[str], times: Sequence[float]) -> int:
    """How many of the words on size and place are wrong for a track, among the tracks in sight at some of the times."""
    seen = [other for other in tracks if other.end_s >= times[0] and other.start_s <= times[-1]]
    middle = float(np.median([_area(other) for other in seen])) if seen else 0.0
    x = float(np.mean([np.interp(time_s, track.times, track.centres[:, 0]) for time_s in times])) / track.size[0]
    wrong = {"small": _area(track) > middle, "large": _area(track) < middle, "left": x > 0.5, "right": x < 0.5}
    return sum(wrong.get(word, False) for word in words)


def _area(track: Track) -> float:
    return float(np.median(track.boxes[:, 2] * track.boxes[:, 3]))
