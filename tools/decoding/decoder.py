"""The decode process: `python -m tools.decoding.decoder FD` answers requests on a socket until it closes.

A request is one JSON message; the answer a JSON message and one of raw bytes. Imports only numpy, PyAV and PIL (decord
when a file first asks for it), so that it starts in a fraction of a second.

Invariant: it does not outlive its parent. Idle, it ends when the socket closes or the parent changes; busy or hung, the
kernel's alarm ends it soon after the request's deadline.
"""

import json
import math
import os
import resource
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from cachetools import LRUCache

from storage.files import JsonObject
from tools.decoding.decode_process import Request
from tools.decoding.decord_reader import DecordReader, speedup
from tools.decoding.frame import VideoError
from tools.decoding.frame_folder import FrameFolderReader, split_rate, stamp_of
from tools.decoding.image import resize
from tools.decoding.index import Index
from tools.decoding.index_cache import IndexCache
from tools.decoding.pyav_reader import PyavReader, is_starved

OPEN_VIDEOS = 400
"""Most videos kept open, with their decoders and indexes; each holds a file descriptor."""
OPEN_PIXELS = 8 * 1920 * 1080
"""Most pixels of one frame of each of them together; a decoder's memory goes with its frame's size."""
MEMORY_BYTES = 6 * 2**30
"""Most address space of the process; a file that asks for more fails alone."""
DECORD_BYTES = 512 * 2**20
"""Most bytes that a whole film may decode to where decord reads it: its thread decodes ahead of what was asked for
without a bound, and keeps what it made."""
OPEN_DECORD_BYTES = 4 * DECORD_BYTES
"""Most that all films which decord has open may decode to together."""
OPEN_FRAMES = 4_000_000
"""Most frames in the indexes of all of them together."""
ALARM_GRACE_S = 2
"""How long after a request's deadline the process ends itself, seconds, had the parent not done it."""

Answer = tuple[JsonObject, bytes | memoryview]


@dataclass
class _Open:
    """A video that is open."""

    truth: PyavReader | FrameFolderReader
    entry: Path | None
    """Where its index is kept."""
    decord: bool | None
    """Whether decord is proven on it; None: not known."""
    fast: DecordReader | None = None

    @property
    def decoded_bytes(self) -> int:
        """Of all its frames."""
        index = self.truth.index
        return len(index.pts) * index.width * index.height * 3

    def close(self) -> None:
        self.fast = None
        self.truth.close()


class _OpenVideos(LRUCache[tuple[str, int, int], _Open]):
    def popitem(self) -> tuple[tuple[str, int, int], _Open]:
        key, video = super().popitem()
        video.close()
        return key, video


class Decoder:
    """The videos that are open; the least recently used are closed first."""

    def __init__(self) -> None:
        self._open = _OpenVideos(OPEN_VIDEOS)
        self._indexes = IndexCache()

    def answer(self, request: Request) -> Answer:
        key = request["path"], *request["stamp"]
        _require_unchanged(request)
        if key not in self._open:
            opened = self._opened(request["path"])
            _require_unchanged(request)
            self._open[key] = opened
            while len(self._open) > 1 and self._too_many():
                self._open.popitem()
        video = self._open[key]
        if request["do"] == "index":
            return _description(video.truth.index), video.truth.index.times.tobytes()
        if request["do"] == "prove":
            if video.decord is None and isinstance(video.truth, PyavReader):
                self._prove(request["path"], video, video.truth)
            return {"decord": video.decord}, b""
        return self._frames(request, video)

    def _opened(self, path: str) -> _Open:
        if os.path.isdir(split_rate(path)[0]):
            return _Open(FrameFolderReader(path), None, decord=False)
        entry = self._indexes.entry(path)
        index, decord = self._indexes.load(entry)
        truth = PyavReader(path, index)
        if index is None:
            self._indexes.save(entry, path, truth.index)
        opened = _Open(truth, entry, decord)
        if opened.decoded_bytes > DECORD_BYTES:
            opened.decord = False
        return opened

    def _too_many(self) -> bool:
        indexes = [video.truth.index for video in self._open.values()]
        pixels, frames = sum(i.width * i.height for i in indexes), sum(len(i.pts) for i in indexes)
        ahead = sum(video.decoded_bytes for video in self._open.values() if video.fast)
        return pixels > OPEN_PIXELS or frames > OPEN_FRAMES or ahead > OPEN_DECORD_BYTES

    def _prove(self, path: str, video: _Open, truth: PyavReader) -> None:
        # Kept before the trial: where decord takes the process down with it, the next one must not try again.
        self._judge(path, video, False)
        try:
            video.fast = DecordReader(path)
            if speedup(video.fast, truth) > 1.0:
                self._judge(path, video, True)
        except Exception:  # noqa: BLE001 - whatever decord raises, the file is read with PyAV
            video.fast = None

    def _judge(self, path: str, video: _Open, decord: bool) -> None:
        video.decord = decord
        self._indexes.save(video.entry, path, video.truth.index, decord)

    def _frames(self, request: Request, video: _Open) -> Answer:
        indices = request["indices"]
        if request["keyframes"]:
            indices = [video.truth.index.keyframe(index) for index in indices]
        pixels = np.empty((len(indices), request["height"], request["width"], 3), np.uint8)
        shown = list(indices)
        reader = request["reader"]
        if reader == "decord":
            try:
                video.fast = video.fast or DecordReader(request["path"])
                for row, index in enumerate(indices):
                    pixels[row] = _cut(video.fast.read(index), request)
            except Exception:  # noqa: BLE001 - whatever decord raises, the file is read with PyAV
                reader = "pyav"
        if reader == "pyav":
            if video.decord:  # it failed just now, or took a process down before this one
                self._judge(request["path"], video, False)
            for row, (index, frame) in enumerate(video.truth.read_many(indices)):
                shown[row], pixels[row] = index, _cut(frame, request)
        return {"shown": shown, "reader": reader}, pixels.reshape(-1).data


def _require_unchanged(request: Request) -> None:
    """A file that was replaced has other frames than the index that the parent goes by.

    Raises:
        VideoError: it is not the file that the parent opened.
    """
    if list(stamp_of(request["path"])) != list(request["stamp"]):
        raise VideoError("was changed while it was open; open it again")


def _description(index: Index) -> JsonObject:
    """What a video is, beside its times."""
    rate = index.rate
    return {
        "width": index.width,
        "height": index.height,
        "end_s": index.end_s,
        "keyframe_s": index.keyframe_s,
        "rotation": index.orientation.rotation,
        "mirrored": index.orientation.mirrored,
        "estimated": index.estimated,
        "rate": [rate.numerator, rate.denominator] if rate else None,
    }


def _cut(frame: np.ndarray, request: Request) -> np.ndarray:
    """The region asked for, at the size asked for."""
    if region := request["region"]:
        left, top, right, bottom = region
        frame = np.ascontiguousarray(frame[top:bottom, left:right])
    return resize(frame, request["width"], request["height"])


def serve(connection: Connection) -> None:
    """Answer until the other end closes or the parent is gone."""
    parent = os.getppid()
    decoder = Decoder()
    connection.send_bytes(b"ready")
    while True:
        while not connection.poll(1.0):
            if os.getppid() != parent:
                return
        request = json.loads(connection.recv_bytes())
        signal.alarm(math.ceil(request["timeout_s"]) + ALARM_GRACE_S)
        starved = False
        try:
            head, body = decoder.answer(request)
        except VideoError as error:
            head, body = {"error": str(error)}, b""
        except Exception as error:  # noqa: BLE001 - the parent is told what a file makes the libraries raise
            starved = is_starved(error)
            reason = "out of memory" if starved else f"{type(error).__name__}: {error}"
            head, body = {"error": f"cannot be decoded ({reason})", "starved": starved}, b""
        connection.send_bytes(json.dumps(head).encode())
        connection.send_bytes(body)
        signal.alarm(0)
        if starved:  # what is left of the memory is in pieces; a fresh process has all of it
            return


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main()
