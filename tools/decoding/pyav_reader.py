"""One open video, read with PyAV. Runs in the decode process.

Invariant: a frame is found by its presentation timestamp, decoded forward from a keyframe at or before it
(`_seek` checks where the container really landed); nothing is computed from `index / fps`.

A file whose frames have no true timestamps of their own (H.264 with B-frames in AVI, a muxer that wrote decoding times)
is played as players do, in the order of decoding: its frames are numbered, and the sorted timestamps of its packets are
theirs, which the index calls estimated.
"""

import errno
import math
import os
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, pairwise

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from tools.decoding.frame import VideoError
from tools.decoding.hdr import TRANSFERS, to_srgb
from tools.decoding.image import resize
from tools.decoding.index import Index, Orientation

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,mxf,ivf,nut,mp3,wav,flac,aac"
"""Containers that are opened, of sound too for a clear refusal. Playlists and image patterns could name other files."""
THREADED_PIXELS = 1280 * 720
"""Smallest picture that is decoded with several threads; below it starting them costs more than it gains."""
CHECKED_FRAMES = 8
"""Frames decoded at the start to see whether the packets' timestamps are those of the frames."""
SUSPECT_FRAMES = 300
"""As many where the codec may reorder frames and the container says that it never does."""
MOST_UNTIMED = 0.1
"""Share of frames without a timestamp that are passed over; with more of them the times are estimated."""
UNTIMED = -(2**63)
"""Stands for the decoding timestamp of a keyframe that has none, as the first ones of a Matroska file."""
PIXEL_ASPECTS = (1 / 8, 8.0)
"""Width over height of a pixel; beyond these a file's is taken for damaged."""
SKIPPING = frozenset({"h264"})
"""Codecs whose frames say for certain that no other refers to them."""
RESEEKS = 3
"""Keyframes tried, going back, before a file is decoded from its start."""
NEAR_FRAMES = 8
"""A target this many frames past a keyframe boundary is reached by decoding on, not by seeking."""


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
        nothing = np.array([], np.int64)
        self._pts = index.pts if index else nothing
        self._keys = index.keys if index else nothing
        self._key_dts = index.key_dts if index else nothing
        self._estimated = index.estimated if index else False
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
        timed, reordered, end = self._index_packets()
        suspect = bool(self._stream.codec_context.has_b_frames) and not reordered
        timed = timed and self._first_frames_agree(SUSPECT_FRAMES if suspect else CHECKED_FRAMES)
        if not timed:
            end = self._index_frames()
        if end <= self._pts[-1]:
            end = int(self._pts[-1]) + round(int(self._pts[-1] - self._pts[0]) / max(1, len(self._pts) - 1))
        self._seek(int(self._pts[0]))
        first = self._shown
        assert first is not None
        orientation = _orientation(first)
        width, height = self._square(first)
        if orientation.swap:
            width, height = height, width
        base = Fraction(self._stream.time_base)
        return Index(
            self._pts, self._keys, end, base, width, height, orientation, timed, self._estimated, self._key_dts
        )

    def _square(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of a frame of square pixels: the side that is too short for its aspect is longer."""
        aspect = float(self._stream.sample_aspect_ratio or 1)
        if not PIXEL_ASPECTS[0] <= aspect <= PIXEL_ASPECTS[1]:
            return frame.width, frame.height
        return round(frame.width * max(1.0, aspect)), round(frame.height * max(1.0, 1 / aspect))

    def _index_packets(self) -> tuple[bool, bool, int]:
        """Sets the timestamps; tells whether each packet has one of its own, in order, whether any is shown at another
        time than it is decoded, and when the last one ends."""
        pts: list[int] = []
        keys: list[int] = []
        end, last_dts, timed, reordered = 0, -math.inf, True, False
        for packet in self._packets():
            if packet.pts is None:
                timed = timed and packet.size == 0
                continue
            if packet.dts is not None:
                timed, last_dts = timed and packet.dts >= last_dts, packet.dts
                reordered = reordered or packet.pts != packet.dts
            if packet.is_keyframe:
                keys.append(packet.pts)
            if not packet.is_discard:
                pts.append(packet.pts)
                end = max(end, packet.pts + (packet.duration or 0))
        self._pts, self._keys = np.unique(np.array(pts, np.int64)), np.unique(np.array(keys, np.int64))
        return timed and 0 < len(pts) == len(self._pts), reordered, end

    def _first_frames_agree(self, checked: int) -> bool:
        self._seek(int(self._pts[0]))
        for pts in self._pts[:checked]:
            if self._shown is None or self._shown.pts != pts:
                return False
            self._shown = next(self._frames, None)
        return True

    def _index_frames(self) -> int:
        """Sets the timestamps from the frames themselves; gives the end of the last one."""
        pts: list[int] = []
        keys: list[int] = []
        end = number = 0
        self._container.close()
        self._open()
        for number, frame in enumerate(self._decode(self._packets()), 1):
            if frame.key_frame:
                keys.append(number - 1)
            if frame.pts is not None:
                pts.append(frame.pts)
                end = max(end, frame.pts + (frame.duration or 0))
        if not number:
            raise VideoError("has no frame that can be decoded")
        if len(pts) < (1 - MOST_UNTIMED) * number or any(b <= a for a, b in pairwise(pts)):
            return self._estimate(number, keys)
        self._pts = np.array(pts, np.int64)
        return end

    def _estimate(self, frames: int, keys: list[int]) -> int:
        """Sets timestamps in the order in which the frames are shown; gives the end of the last one.

        Args:
            keys: places of the keyframes among the frames.
        """
        self._container.close()
        self._open()
        packets = [packet for packet in self._packets() if packet.size]
        for ticks in ([packet.pts for packet in packets], [packet.dts for packet in packets]):
            if None not in ticks and len(set(ticks)) == len(ticks) >= frames:
                self._pts = np.sort(np.array(ticks, np.int64))[:frames]
                break
        else:
            period = 1 / (float(self._stream.average_rate or 25) * float(self._stream.time_base))
            self._pts = np.round(np.arange(frames) * max(1.0, period)).astype(np.int64)
        timed = [UNTIMED if packet.dts is None else packet.dts for packet in packets]
        dts = [ticks for ticks, p in zip(timed, packets, strict=True) if p.is_keyframe and not p.is_discard]
        if len(dts) != len(keys):  # then frames are found from the start of the file alone
            keys, dts = [], []
        self._keys, self._key_dts = self._pts[keys], np.array(dts, np.int64)
        self._estimated = True
        return int(self._pts[-1])

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
        pixels = np.ascontiguousarray(self.index.orientation.upright(self._pixels(self._shown)))
        # Of another size where pixels are not square, or where the picture's size changes on the way.
        pixels = resize(pixels, self.index.width, self.index.height)
        return max(0, self._count(self._pts, self._shown.pts) - 1), pixels

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        transfer = int(frame.color_trc)
        wide = transfer in TRANSFERS
        # Left to itself it starts a thread for each core, and keeps them.
        threads = self._stream.codec_context.thread_count
        pixels = self._rgb.reformat(frame, format="rgb48le" if wide else "rgb24", threads=threads).to_ndarray()
        return to_srgb(pixels, transfer) if wide else pixels

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
        self._frames = self._timed(self._decode(self._packets()))
        self._shown = next(self._frames, None)

    def _timed(self, frames: Iterator[av.VideoFrame], key: int | None = None) -> Iterator[av.VideoFrame]:
        """Frames with their timestamps, from the start of the file on, or from its keyframe of this number."""
        if not self._estimated:
            yield from (frame for frame in frames if frame.pts is not None)
            return
        places = np.searchsorted(self._pts, self._keys).tolist()
        place, following = 0 if key is None else -1, key or 0
        for frame in frames:
            if frame.key_frame and following < len(places):
                place, following = places[following], following + 1
            # Before the keyframe come those that lead its open GOP.
            if 0 <= place < len(self._pts):
                frame.pts = int(self._pts[place])
                place += 1
                yield frame

    def _decode_from(self, key: int) -> Iterator[av.VideoFrame]:
        # Containers seek by decoding time, by presentation time or to no keyframe at all; so look at what comes.
        number = self._count(self._keys, key) - 1
        dts = int(self._key_dts[number]) if self._estimated else None
        if dts == UNTIMED:
            return
        try:
            self._container.seek(key if dts is None else dts, stream=self._stream)
        except av.error.FFmpegError as error:
            _require_memory(error)
            return
        packets = self._packets()
        first = next((packet for packet in packets if packet.is_keyframe and dts in (None, packet.dts)), None)
        if first is not None and dts is not None:
            yield from self._timed(self._decode(chain([first], packets)), number)
            return
        if first is None or first.pts is None or first.pts > key:
            return
        # Frames that lead an open GOP lean on frames before it and come out broken.
        yield from (f for f in self._decode(chain([first], packets)) if f.pts is not None and f.pts >= first.pts)

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
            yield from frames
        try:
            yield from self._stream.codec_context.decode(None)
        except av.error.FFmpegError as error:
            _require_memory(error)
            return

    def close(self) -> None:
        self._frames, self._shown, self._ahead = iter(()), None, None
        self._container.close()


def _orientation(frame: av.VideoFrame) -> Orientation:
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return Orientation.of(struct.unpack("<9i", bytes(data)))
    return Orientation()


def is_starved(error: BaseException) -> bool:
    """Whether what failed is this process: it has no memory left, or cannot start a thread."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in (errno.ENOMEM, errno.EAGAIN)


def _require_memory(error: Exception) -> None:
    """A damaged part is passed over; but a want of memory is no fault of the file's, and its frames would be missed."""
    if is_starved(error):
        raise error
