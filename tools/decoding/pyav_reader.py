"""One open video, read with PyAV. Runs in the decode process.

Invariant: a frame is found by its presentation timestamp, decoded forward from a keyframe at or before it
(`_seek` checks where the container really landed); nothing is computed from `index / fps`.
"""

import errno
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from tools.decoding.frame import VideoError
from tools.decoding.hdr import TRANSFERS, to_srgb

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,mxf,ivf,nut,mp3,wav,flac,aac"
"""Containers that are opened, of sound too for a clear refusal. Playlists and image patterns could name other files."""
THREADED_PIXELS = 1280 * 720
"""Smallest picture that is decoded with several threads; below it starting them costs more than it gains."""
CHECKED_FRAMES = 8
"""Frames decoded at the start to see whether the packets' timestamps are those of the frames."""
SKIPPING = frozenset({"h264"})
"""Codecs whose frames say for certain that no other refers to them."""
RESEEKS = 3
"""Keyframes tried, going back, before a file is decoded from its start."""
NEAR_FRAMES = 8
"""A target this many frames past a keyframe boundary is reached by decoding on, not by seeking."""


@dataclass(frozen=True)
class Index:
    """What a pass over a file's packets tells; enough to find any frame without another pass."""

    pts: np.ndarray
    """[frames] int64, sorted: presentation timestamps in ticks of `time_base`."""
    keys: np.ndarray
    """[keyframes] int64, sorted: timestamps of the keyframes."""
    end: int
    """When the last frame stops being shown, ticks."""
    time_base: Fraction
    """Seconds of a tick."""
    width: int
    height: int
    """Pixels, upright."""
    quarter_turns: int
    """Counter-clockwise turns that set the stored picture upright."""
    timed_packets: bool
    """Whether the packets' timestamps are those of the frames."""

    @property
    def times(self) -> np.ndarray:
        """[frames] float64, seconds: presentation times as the container states them, sorted."""
        return np.array([float(pts * self.time_base) for pts in self.pts.tolist()], dtype=np.float64)

    @property
    def end_s(self) -> float:
        """When the last frame stops being shown, seconds on the same clock."""
        return float(self.end * self.time_base)

    def keyframe(self, index: int) -> int:
        """Index of the last keyframe at or before frame `index`; of the frame itself where there is none."""
        before = self.keys[: int(np.searchsorted(self.keys, self.pts[index], side="right"))]
        if not len(before):
            return index
        found = int(np.searchsorted(self.pts, before[-1]))
        return found if self.pts[found] == before[-1] else index

    @property
    def keyframe_s(self) -> float:
        """Seconds from one keyframe to the next, on average."""
        return (self.end_s - float(self.pts[0] * self.time_base)) / max(1, len(self.keys))

    @property
    def rate(self) -> Fraction | None:
        """Frames a second; None where it varies, by more than the tick that a container may round to."""
        frames = len(self.pts)
        if frames < 2:
            return None
        span = int(self.pts[-1] - self.pts[0])
        even = self.pts[0] + np.arange(frames) * (span / (frames - 1))
        if np.abs(self.pts - even).max() > 1.0:
            return None
        exact = Fraction(frames - 1, 1) / (span * self.time_base)
        steps = set(np.diff(self.pts).tolist())
        return exact if len(steps) == 1 else exact.limit_denominator(1001)


class PyavReader:
    """A video file with its index and a decoder that keeps its place.

    Raises:
        VideoError: not a video, no video stream, no timestamps, or no frame that can be decoded.
    """

    def __init__(self, path: str, index: Index | None = None) -> None:
        """`index` is the file's own from an earlier time, which saves the pass over its packets."""
        self._path = path
        self._rgb = VideoReformatter()
        self._wanted: set[int] = set()
        self._open()
        self._pts = index.pts if index else np.array([], np.int64)
        self._keys = index.keys if index else np.array([], np.int64)
        self.index = index or self._made()

    def _open(self) -> None:
        try:
            self._container = av.open(
                self._path,
                options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
                metadata_errors="ignore",
            )
        except av.error.ArgumentError:
            raise VideoError("is not in a video container that is read here, such as MP4, MKV, WebM or AVI") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            _require_memory(error)
            raise VideoError(f"is not a readable video ({getattr(error, 'strerror', None) or error})") from None
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in self._container.streams.video if not s.disposition & cover]
        if not streams:
            raise VideoError("has no video stream")
        self._stream = streams[0]
        context = self._stream.codec_context
        if context is None:
            raise VideoError("is of a codec that cannot be decoded here")
        threaded = context.width * context.height >= THREADED_PIXELS
        context.thread_type = "AUTO" if threaded else "NONE"
        context.thread_count = min(4, os.cpu_count() or 1) if threaded else 1
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._shown: av.VideoFrame | None = None
        self._ahead: av.VideoFrame | None = None
        self._skipped: set[int] = set()

    def _made(self) -> Index:
        """Presentation times from the packets alone, unless the first frames show that they can't be trusted."""
        timed, end = self._index_packets()
        timed = timed and self._first_frames_agree()
        if not timed:
            end = self._index_frames()
        if end <= self._pts[-1]:
            end = int(self._pts[-1]) + round(int(self._pts[-1] - self._pts[0]) / max(1, len(self._pts) - 1))
        self._seek(int(self._pts[0]))
        first = self._shown
        assert first is not None
        turns = round(first.rotation / 90) % 4
        width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
        base = Fraction(self._stream.time_base)
        return Index(self._pts, self._keys, end, base, width, height, turns, timed)

    def _index_packets(self) -> tuple[bool, int]:
        """Sets the timestamps; tells whether each packet has one of its own, in order, and when the last one ends."""
        pts: list[int] = []
        keys: list[int] = []
        end, last_dts, timed = 0, -math.inf, True
        for packet in self._packets():
            if packet.pts is None:
                timed = timed and packet.size == 0
                continue
            if packet.dts is not None:
                timed, last_dts = timed and packet.dts >= last_dts, packet.dts
            if packet.is_keyframe:
                keys.append(packet.pts)
            if not packet.is_discard:
                pts.append(packet.pts)
                end = max(end, packet.pts + (packet.duration or 0))
        self._pts, self._keys = np.unique(np.array(pts, np.int64)), np.unique(np.array(keys, np.int64))
        return timed and 0 < len(pts) == len(self._pts), end

    def _first_frames_agree(self) -> bool:
        self._seek(int(self._pts[0]))
        for pts in self._pts[:CHECKED_FRAMES]:
            if self._shown is None or self._shown.pts != pts:
                return False
            self._shown = next(self._frames, None)
        return True

    def _index_frames(self) -> int:
        """Sets the timestamps from the frames themselves; gives the end of the last one."""
        pts: list[int] = []
        end = 0
        self._restart()
        while self._shown is not None:
            pts.append(self._shown.pts)
            end = max(end, self._shown.pts + (self._shown.duration or 0))
            self._shown = next(self._frames, None)
        if not pts:
            raise VideoError("has no frame that can be decoded")
        if any(b <= a for a, b in pairwise(pts)):
            raise VideoError("has no true presentation times, for they jump back or repeat; convert it to MP4")
        self._pts = np.array(pts, np.int64)
        return end

    def read(self, index: int) -> tuple[int, np.ndarray]:
        """Frame `index` as ([H, W, 3] uint8 RGB, upright), with the index of the frame that it really is: where that
        frame is damaged, the one shown in its place."""
        [found] = self.read_many([index])
        return found

    def read_many(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """`read` of each; on the way, frames that are not asked for and to which no other refers are not decoded."""
        may_skip = self.index.timed_packets and self._stream.codec_context.name in SKIPPING
        self._wanted = set(self._pts[list(indices)].tolist()) if may_skip else set()
        for index in indices:
            yield self._read(index)

    def _read(self, index: int) -> tuple[int, np.ndarray]:
        target = int(self._pts[index])
        if not self._is_near(target):
            self._seek(target)
        while self._shown is None or self._shown.pts < target:
            ahead = self._ahead or next(self._frames, None)
            self._ahead = None
            if ahead is None:
                break
            if ahead.pts > target and self._shown is not None:
                self._ahead = ahead
                break
            self._shown = ahead
        if self._shown is None:
            raise VideoError(f"cannot be decoded at {float(target * self._stream.time_base):.3f} s")
        pixels = self._pixels(self._shown)
        if self.index.quarter_turns:
            pixels = np.ascontiguousarray(np.rot90(pixels, self.index.quarter_turns))
        return max(0, self._count(self._pts, self._shown.pts) - 1), pixels

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        transfer = int(frame.color_trc)
        if transfer in TRANSFERS:
            return to_srgb(self._rgb.reformat(frame, format="rgb48le").to_ndarray(), transfer)
        return self._rgb.reformat(frame, format="rgb24").to_ndarray()

    def _is_near(self, target: int) -> bool:
        if self._shown is None or self._shown.pts > target:
            return False
        if self._shown.pts == target:
            return True
        if target in self._skipped:
            return False
        key = self._count(self._keys, target)
        if key == 0:
            return True
        passed = self._count(self._pts, self._shown.pts), self._count(self._pts, self._keys[key - 1])
        return passed[0] >= passed[1] - NEAR_FRAMES

    @staticmethod
    def _count(times: np.ndarray, until: int) -> int:
        """How many of the sorted times are not after `until`."""
        return int(np.searchsorted(times, until, side="right"))

    def _seek(self, target: int) -> None:
        """Make a frame at or before `target` the one shown, as near to it as keyframes allow."""
        before = self._keys[: self._count(self._keys, target)].tolist()
        for key in before[: -RESEEKS - 1 : -1]:
            self._ahead = None
            self._skipped.clear()
            self._frames = self._decode_from(key)
            self._shown = next(self._frames, None)
            if self._shown is not None and self._shown.pts <= target:
                return
        self._restart()

    def _restart(self) -> None:
        self._container.close()
        self._open()
        self._frames = self._decode(self._packets())
        self._shown = next(self._frames, None)

    def _decode_from(self, key: int) -> Iterator[av.VideoFrame]:
        # Containers seek by decoding time, by presentation time or to no keyframe at all; so look at what comes.
        try:
            self._container.seek(key, stream=self._stream)
        except av.error.FFmpegError as error:
            _require_memory(error)
            return
        packets = self._packets()
        first = next((packet for packet in packets if packet.is_keyframe), None)
        if first is None or first.pts is None or first.pts > key:
            return
        # Frames that lead an open GOP lean on frames before it and come out broken.
        yield from (frame for frame in self._decode(chain([first], packets)) if frame.pts >= first.pts)

    def _packets(self) -> Iterator[av.Packet]:
        """Packets of the video stream; a torn file ends where it is torn."""
        try:
            yield from self._container.demux(self._stream)
        except av.error.FFmpegError as error:
            _require_memory(error)
            return

    def _decode(self, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
        """Frames in presentation order; a damaged packet is passed over, as players do."""
        context = self._stream.codec_context
        for packet in packets:
            skip = bool(self._wanted) and packet.pts is not None and packet.pts not in self._wanted
            context.skip_frame = "NONREF" if skip else "DEFAULT"
            if skip:
                self._skipped.add(packet.pts)
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                _require_memory(error)
                continue
            yield from (frame for frame in frames if frame.pts is not None)
        try:
            yield from (frame for frame in self._stream.codec_context.decode(None) if frame.pts is not None)
        except av.error.FFmpegError as error:
            _require_memory(error)
            return

    def close(self) -> None:
        self._frames, self._shown, self._ahead = iter(()), None, None
        self._container.close()


def _require_memory(error: Exception) -> None:
    """A damaged part is passed over; but a want of memory is no fault of the file's, and its frames would be missed."""
    if getattr(error, "errno", None) == errno.ENOMEM:
        raise error
