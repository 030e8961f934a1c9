"""Frame-accurate video: a file's presentation times, and its frames by time.

Times are presentation times as the container states them, in seconds, with nothing subtracted: a file whose first
frame is stamped 5.0 s begins at 5.0 s, and `duration_s` is when its last frame stops being shown on that same clock.

Invariant: every frame carries the true time of the picture that it is, and `read_frame(frame.ref)` gives its bytes.
"""

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs.episode import EpisodeConfig
from storage.files import JsonObject
from tools.decoding.decode_process import Ask, DecodeProcess, Request
from tools.decoding.frame import DeadlineError, Frame, FrameKey, FrameRef, Region, Stamp, VideoError
from tools.decoding.frame_folder import NEITHER, split_rate, stamp_of
from tools.decoding.image import fit, open_image, read_image
from tools.decoding.shared_frames import SharedFrames
from tools.decoding.thread_safe_cache import ThreadSafeCache
from tools.decoding.waiting import Deadline

__all__ = [
    "Video",
    "VideoError",
    "decode_process",
    "fit",
    "forget_frames",
    "open_image",
    "open_video",
    "read_frame",
    "read_frames",
]

TIMEOUT_S = EpisodeConfig.tool_timeout_s
"""Deadline of a request where the caller names none, seconds. Waiting for a busy decoder does not count; where it takes
as long by itself, or longer than the call may wait in all (`waits`), that is a `BusyError`."""
PROVE_TIMEOUT_S = 10.0
"""Deadline for proving the fast path on a file, seconds; a miss only means that PyAV reads it."""
FAST_PATH_MIN_PIXELS = 640 * 360
"""Smallest picture for which decord is tried; below it PyAV takes milliseconds and the proof would cost more."""
FRAME_CACHE_BYTES = 256 * 2**20
"""Pixels kept in memory by one process."""
SHARED_FRAMES_BYTES = 512 * 2**20
"""Pixels kept in memory by all processes of a node together."""
KNOWN_VIDEOS = 512
"""Videos whose index is kept."""
SCAN_FRAMES = 16
"""Frames that are decoded by one request."""
SCAN_GRACE_S = 2.0
"""Least time that the last request of a scan gets, seconds."""
TICK_S = 1e-6
"""A time this little before a frame counts as the frame's, so that rounding in a sum of seconds can't miss it."""

FrameCache = ThreadSafeCache[FrameKey, np.ndarray]


class _State:
    """What one process knows: its decoder, the indexes, the frames."""

    def __init__(self, shared_bytes: int = SHARED_FRAMES_BYTES) -> None:
        self.process = DecodeProcess()
        self.frames = _cache_of_frames(FRAME_CACHE_BYTES)
        self.shared = SharedFrames(shared_bytes)
        self.videos: ThreadSafeCache[tuple[str, Stamp], Video] = ThreadSafeCache(KNOWN_VIDEOS)


def _cache_of_frames(max_bytes: int) -> FrameCache:
    return ThreadSafeCache(max_bytes, lambda pixels: pixels.nbytes)


class Video:
    """An indexed video file; made by `open_video`. Thread-safe."""

    def __init__(self, path: str, stamp: Stamp, times: np.ndarray, description: JsonObject) -> None:
        self.path = path
        self.times = times
        """[frames] float64: presentation times in seconds, sorted."""
        self.duration_s: float = description["end_s"]
        """When the last frame stops being shown: the length of the video where it starts at 0."""
        self.width: int = description["width"]
        self.height: int = description["height"]
        """Pixels as players show them: upright, and square. Where the size changes on the way, the first one's."""
        self.rotation: int = description["rotation"]
        """Degrees, clockwise, by which the stored picture was turned: 0, 90, 180 or 270."""
        self.mirrored: bool = description["mirrored"]
        """Whether left and right of the stored picture changed places before that."""
        self.estimated: bool = description["estimated"]
        """Whether the file has no true presentation times, so that `times` are those of the frames' order."""
        self.keyframe_s: float = description["keyframe_s"]
        """Seconds from one keyframe to the next, on average."""
        self.rate = Fraction(*description["rate"]) if description["rate"] else None
        """Frames a second; None where it varies."""
        self.reader = "pyav"
        """`decord` where that is proven on this file."""
        self.stamp = stamp
        """Size in bytes and modification time in nanoseconds of the file that was indexed."""

    def __repr__(self) -> str:
        rate = f"{float(self.rate):.6g} frames a second" if self.rate else "variable frame rate"
        return (
            f"Video({self.path!r}, {len(self.times)} frames from {self.times[0]:.3f} s to {self.duration_s:.3f} s, "
            f"{self.width}x{self.height}, {rate}{', times estimated' * self.estimated}, read by {self.reader})"
        )

    def frames_at(
        self,
        times: Sequence[float],
        max_pixels: int,
        multiple: int,
        timeout_s: float = TIMEOUT_S,
        region: Region | None = None,
        min_pixels: int = 0,
    ) -> list[Frame]:
        """The frame shown at each time: the last that starts at or before it; past an end, the first or the last.

        Pixels are read-only and of the size `fit(width, height, max_pixels, multiple, min_pixels)`, those of the region
        if one is given: it is cut out before it is resized.

        Raises:
            VideoError: decoding failed or took longer than `timeout_s`.
            ValueError: the region is empty or reaches out of the frame.
        """
        width, height = self.width, self.height
        if region is not None:
            left, top, right, bottom = region
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise ValueError(f"no region {region} in a frame of {width}x{height} pixels")
            width, height = right - left, bottom - top
        indices = [self._index(time_s) for time_s in times]
        return self._frames(indices, _Form(*fit(width, height, max_pixels, multiple, min_pixels), region), timeout_s)

    def clip(
        self,
        start_s: float,
        end_s: float,
        fps: float,
        max_frames: int,
        max_pixels: int,
        multiple: int,
        timeout_s: float = TIMEOUT_S,
        min_pixels: int = 0,
    ) -> list[Frame]:
        """Frames of a stretch: min(max_frames, (end - start) * fps) of them, at least one, none twice.

        The stretch is first cut to what the video has, then into even slices; each gives the frame shown at its middle.

        Raises:
            VideoError: decoding failed or took longer than `timeout_s`.
        """
        if not (start_s <= end_s and fps > 0 and max_frames >= 1):
            raise ValueError(f"no clip from {start_s} s to {end_s} s at {fps} fps, {max_frames} frames")
        first, last = float(self.times[0]), self.duration_s
        start_s, end_s = min(max(start_s, first), last), min(max(end_s, first), last)
        count = min(max_frames, max(1, round((end_s - start_s) * fps)))
        centres = start_s + (np.arange(count) + 0.5) * (end_s - start_s) / count
        indices = sorted({self._index(float(time_s)) for time_s in centres})
        return self._frames(indices, _Form(*fit(self.width, self.height, max_pixels, multiple, min_pixels)), timeout_s)

    def scan(
        self, times: Sequence[float], max_pixels: int, timeout_s: float = TIMEOUT_S, keyframes: bool = False
    ) -> Iterator[tuple[float, np.ndarray]]:
        """The time and pixels of the frame shown at each time, for a walk over many: they are not kept.

        Args:
            keyframes: give the last keyframe before each time instead, which is cheaper by far.

        Raises:
            VideoError: decoding failed.
            DeadlineError: all of it, what is done between the frames included but waiting for a busy decoder, took
                longer than `timeout_s`.
        """
        deadline = Deadline(timeout_s)
        form = _Form(*fit(self.width, self.height, max_pixels, 1, 0))
        indices = [self._index(time_s) for time_s in times]
        for start in range(0, len(indices), SCAN_FRAMES):
            part = indices[start : start + SCAN_FRAMES]
            left_s = deadline.left_s
            if left_s <= 0:
                what = f"looking through {len(indices)} frames"
                raise DeadlineError(f"{self.path}: {what} took longer than {timeout_s:g} s")
            onward = sorted(set(part))
            # The last request may end a little late; cutting it off would cost the decode process.
            left_s = max(left_s, SCAN_GRACE_S)
            with _state.process.turn(timeout_s) as ask:
                shown, pictures = self._asked(ask, onward, form, left_s, keyframes)
            for row in (onward.index(index) for index in part):
                yield self.times[shown[row]].item(), pictures[row]

    def _index(self, time_s: float) -> int:
        if math.isnan(time_s):
            raise ValueError("a time is not a number")
        return max(0, int(np.searchsorted(self.times, time_s + TICK_S, side="right")) - 1)

    def _frames(self, indices: Sequence[int], form: "_Form", timeout_s: float) -> list[Frame]:
        deadline = Deadline(timeout_s)
        found = self._kept(_state.frames, indices, form)
        if any(index not in found for index in indices):
            # Another thread or process may be at the same stretch: wait for it and take what it made.
            with _state.shared.decoding(self.path, timeout_s):
                found |= self._kept(_state.frames, indices, form)
                found |= self._kept(_state.shared, sorted(set(indices) - found.keys()), form)
                missing = sorted(set(indices) - found.keys())
                for start in range(0, len(missing), SCAN_FRAMES):
                    # By turns with other threads, so that a long first look does not keep a short crop waiting.
                    with _state.process.turn(timeout_s) as ask:
                        left_s = max(SCAN_GRACE_S / 10, deadline.left_s)
                        found |= self._decode(ask, missing[start : start + SCAN_FRAMES], form, left_s)
        return [found[index] for index in indices]

    def _kept(self, cache: FrameCache | SharedFrames, indices: Sequence[int], form: "_Form") -> dict[int, Frame]:
        """Those that this process has, or that some process of the node has made; they are this one's from then on."""
        found = {}
        for index in indices:
            ref = self._ref(index, form)
            pixels = cache.get((ref, self.stamp))
            if pixels is not None:
                _state.frames.keep((ref, self.stamp), pixels)
                found[index] = Frame(ref, pixels, self.times[index].item())
        return found

    def _decode(self, ask: Ask, indices: list[int], form: "_Form", timeout_s: float) -> dict[int, Frame]:
        frames = {}
        for index, shown, view in zip(indices, *self._asked(ask, indices, form, timeout_s), strict=True):
            ref = self._ref(shown, form)
            pixels = view.copy()
            pixels.setflags(write=False)
            _state.frames.keep((ref, self.stamp), pixels)
            _state.shared.put((ref, self.stamp), pixels)
            frames[index] = Frame(ref, pixels, self.times[shown].item())
        return frames

    def _asked(
        self, ask: Ask, indices: Sequence[int], form: "_Form", timeout_s: float, keyframes: bool = False
    ) -> tuple[list[int], np.ndarray]:
        """The indices of the frames that are shown, and their pixels, [frames, height, width, 3] uint8."""
        request = Request(
            do="frames",
            path=os.path.abspath(self.path),
            stamp=self.stamp,
            indices=list(indices),
            keyframes=keyframes,
            reader=self.reader,
            region=form.region,
            width=form.width,
            height=form.height,
        )
        try:
            head, body = ask(request, timeout_s)
        except VideoError:
            # If it was the fast path that hung or died, the next attempt goes without it.
            self.reader = "pyav"
            raise
        self.reader = head["reader"]
        return head["shown"], np.frombuffer(body, np.uint8).reshape(-1, form.height, form.width, 3)

    def _ref(self, index: int, form: "_Form") -> FrameRef:
        return FrameRef(self.path, self.times[index].item(), *form)


class _Form(NamedTuple):
    """What is made of a decoded frame."""

    width: int
    height: int
    region: Region | None = None


_state = _State()


def _after_fork() -> None:
    # A fork starts anew: its parent's decoder is not its own, and a lock may have been held.
    global _state
    _state = _State()


os.register_at_fork(after_in_child=_after_fork)


def forget_frames(max_bytes: int = FRAME_CACHE_BYTES) -> None:
    """Drop the frames that this process keeps, and keep at most `max_bytes` from now on; the node's stay."""
    _state.frames = _cache_of_frames(max_bytes)


def decode_process() -> DecodeProcess:
    """This process's decoder."""
    return _state.process


def open_video(path: str | Path, timeout_s: float = TIMEOUT_S) -> Video:
    """The index of a video, a file or a folder of frames; kept, so that opening it again costs a `stat`.

    Raises:
        VideoError: missing, empty, not a video, without a video stream, or nothing in it can be decoded.
    """
    path = str(path)
    key = path, _stamp(path)
    video = _state.videos.get(key)
    if video is None:
        with _state.process.turn(timeout_s) as ask:
            video = _state.videos.get(key) or _open(key, ask, timeout_s)
    return video


def read_frame(ref: FrameRef, timeout_s: float = TIMEOUT_S) -> np.ndarray:
    """The pixels of a frame that was shown, [height, width, 3] uint8 RGB, read-only, bit for bit as they were.

    Raises:
        VideoError: the file cannot be read, or has no frame at that time any more.
    """
    [pixels] = read_frames([ref], timeout_s)
    return pixels


def read_frames(refs: Sequence[FrameRef], timeout_s: float = TIMEOUT_S) -> list[np.ndarray]:
    """`read_frame` of each, in one request for those of a file that lie beside each other and are of one form; the
    deadline is each request's."""
    found: list[np.ndarray] = []
    for (path, still, form), some in groupby(refs, _source):
        if still:
            found += map(_read_still, some)
        else:
            found += _read_of(open_video(path, timeout_s), form, [ref.time_s or 0.0 for ref in some], timeout_s)
    return found


def _source(ref: FrameRef) -> tuple[str, bool, _Form]:
    return ref.path, ref.time_s is None, _Form(ref.width, ref.height, ref.region)


def _read_still(ref: FrameRef) -> np.ndarray:
    key = ref, _stamp(ref.path)
    pixels = _state.frames.get(key)
    return _state.frames.keep(key, read_image(ref)) if pixels is None else pixels


def _read_of(video: Video, form: _Form, times: Sequence[float], timeout_s: float) -> list[np.ndarray]:
    frames = video._frames([video._index(time_s) for time_s in times], form, timeout_s)
    for frame, time_s in zip(frames, times, strict=True):
        if abs(frame.time_s - time_s) > TICK_S:
            raise VideoError(f"{video.path}: has no frame at {time_s} s any more; the file was changed")
    return [frame.pixels for frame in frames]


def _stamp(path: str) -> Stamp:
    try:
        stamp = stamp_of(path)
    except VideoError as error:
        raise VideoError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise VideoError(f"{path}: cannot be opened ({reason})") from None
    if not (os.path.isfile(path) or os.path.isdir(split_rate(path)[0])):
        raise VideoError(f"{path}: {NEITHER}")
    if stamp[0] == 0:
        raise VideoError(f"{path}: is empty")
    return stamp


def _open(key: tuple[str, Stamp], ask: Ask, timeout_s: float) -> Video:
    path, stamp = key
    request = Request(do="index", path=os.path.abspath(path), stamp=stamp)
    head, body = ask(request, timeout_s)
    times = np.frombuffer(body, np.float64)
    video = Video(path, stamp, times, head)
    if video.width * video.height >= FAST_PATH_MIN_PIXELS:
        try:
            proof, _ = ask({**request, "do": "prove"}, min(PROVE_TIMEOUT_S, timeout_s))
            video.reader = "decord" if proof["decord"] else "pyav"
        except VideoError:
            # decord hung or crashed on this file, and took only the decode process with it.
            video.reader = "pyav"
    return _state.videos.keep(key, video)
