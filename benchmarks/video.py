"""The video reader: frames that are right, crops that cost what decoding costs, memory that stays flat.

`python -m benchmarks.video [--quick]`. decord, OpenCV and PyAV by index are used as their users use them: a time
becomes an index by the average frame rate.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import psutil

from benchmarks.measure import finish, ratio, side_by_side, table
from tests.films import movies
from tests.films.clips import LONG_FPS, LONG_GOP_S, long_video, numbered, real_clips
from tools.decoding import video as reader
from tools.decoding.video import open_video

CROP_FRAMES, CROP_S = 16, 8.0
MAX_PIXELS, MULTIPLE = 112_896, 32
"""What the paper feeds of a frame, at Qwen3-VL's multiple."""
NATIVE = 10**9
Frames = dict[float, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer reads, two minutes of 1080p instead of ten")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="videoseeker-benchmark-") as folder:
        memory = memory_growth(Path(folder), crops=2000 if quick else 10_000)
        wrong = wrong_frames(Path(folder), reads=400 if quick else 2000)
        crops = crop_times(long_video(Path(folder) / "long.mp4", 2 if quick else 10), repeats=5 if quick else 12)
    figures = {"wrong_frames": wrong["ours"], "wrong_frames_of_peers": wrong, "memory_mib": memory}
    finish("video", {**crops, "memory_growth": memory["growth"]}, figures)


def wrong_frames(folder: Path, reads: int) -> dict[str, int]:
    """Wrong frames of each reader on the same random times over all films."""
    films = numbered(folder, 300)
    names = [*films, *real_clips()]
    rng = np.random.default_rng(0)
    totals = dict.fromkeys(READERS, 0)
    rows: list[list[Any]] = []
    for name in names:
        path = films.get(name) or real_clips()[name]
        truth = _Truth(path, shows_number=name in films)
        times = rng.uniform(truth.times[0], truth.times[-1] + 0.02, reads // len(names) + 1).tolist()
        counts = {}
        for who, read in READERS.items():
            counts[who] = sum(truth.wrong(time, pixels) for time, pixels in zip(times, read(path, times), strict=True))
            totals[who] += counts[who]
        rows.append([name, len(times), *counts.values()])
    rows.append(["all", sum(row[1] for row in rows), *totals.values()])
    table("Wrong frames", ["video", "reads", *READERS], rows)
    return {**totals, "reads": rows[-1][1]}


class _Truth:
    """What a player that decodes the whole file shows when."""

    def __init__(self, path: str, shows_number: bool) -> None:
        with av.open(path) as container:
            frames = [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0) if f.time is not None]
        self.times = np.array([time for time, _ in frames])
        self._number = shows_number
        self._pictures = [movies.number(pixels) if shows_number else _thumbnail(pixels) for _, pixels in frames]

    def wrong(self, time_s: float, pixels: np.ndarray | None) -> bool:
        if pixels is None:
            return True
        right = max(0, int(np.searchsorted(self.times, time_s + 1e-6, side="right")) - 1)
        if self._number:
            return movies.number(pixels) != self._pictures[right]
        # Readers convert colours differently; the right frame is the one that is nearest, ties included.
        near = range(max(0, right - 30), min(len(self.times), right + 31))
        distance = {i: float(np.abs(_thumbnail(pixels) - self._pictures[i]).mean()) for i in near}
        return distance[right] > min(distance.values()) + 1e-3


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    grey = cv2.resize(pixels, (64, 48), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
    return grey - grey.mean()


def _ours(path: str, times: list[float]) -> Iterator[np.ndarray]:
    opened = open_video(path)
    for time_s in times:
        yield opened.frames_at([time_s], NATIVE, 1)[0].pixels


def _decord(path: str, times: list[float]) -> Iterator[np.ndarray | None]:
    opened = decord.VideoReader(path, num_threads=1)
    for time_s in times:
        yield opened[min(len(opened) - 1, max(0, int(time_s * opened.get_avg_fps())))].asnumpy()


def _opencv(path: str, times: list[float]) -> Iterator[np.ndarray | None]:
    opened = cv2.VideoCapture(path)
    for time_s in times:
        opened.set(cv2.CAP_PROP_POS_MSEC, time_s * 1000)
        read, pixels = opened.read()
        yield pixels[..., ::-1] if read else None


def _pyav_by_index(path: str, times: list[float]) -> Iterator[np.ndarray | None]:
    with av.open(path) as container:
        rate = container.streams.video[0].average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for time_s in times:
        yield frames[min(len(frames) - 1, max(0, int(time_s * rate)))]


READERS: dict[str, Callable[[str, list[float]], Iterator[np.ndarray | None]]] = {
    "ours": _ours,
    "decord": _decord,
    "OpenCV": _opencv,
    "PyAV by index": _pyav_by_index,
}


def crop_times(path: str, repeats: int) -> dict[str, Any]:
    """A crop of 16 frames at random places of a long 1080p video, against decoding alone and against other readers."""
    opened = open_video(path)
    starts = np.random.default_rng(1).uniform(0, opened.duration_s - CROP_S, repeats)
    wanted = [[start + (i + 0.5) * CROP_S / CROP_FRAMES for i in range(CROP_FRAMES)] for start in starts]
    container = av.open(path)
    stream = container.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "AUTO", min(4, psutil.cpu_count() or 1)
    fast, capture = decord.VideoReader(path, num_threads=0), cv2.VideoCapture(path)

    def crop(repeat: int) -> None:
        opened.clip(starts[repeat], starts[repeat] + CROP_S, 2.0, CROP_FRAMES, MAX_PIXELS, MULTIPLE)

    def limit(repeat: int) -> None:
        first, last = wanted[repeat][0], wanted[repeat][-1]
        container.seek(int(first // LONG_GOP_S * LONG_GOP_S / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.time + 1 / LONG_FPS > last:
                break

    def with_decord(repeat: int) -> None:
        fast.get_batch([int(time_s * LONG_FPS) for time_s in wanted[repeat]]).asnumpy()

    def with_opencv(repeat: int) -> None:
        for time_s in wanted[repeat]:
            capture.set(cv2.CAP_PROP_POS_FRAMES, int(time_s * LONG_FPS))
            capture.read()

    rivals = {"ours": crop, "decoding alone": limit, "decord": with_decord, "OpenCV": with_opencv}
    taken = side_by_side(rivals, repeats)
    taken |= side_by_side({"ours again": crop}, repeats)
    reader.forget_frames()
    taken |= side_by_side({"ours, in another process": crop}, repeats)
    ratios = {
        "crop_over_limit": ratio(taken["ours"], taken["decoding alone"]),
        "crop_speedup_vs_decord": ratio(taken["decord"], taken["ours"]),
        "crop_speedup_vs_opencv": ratio(taken["OpenCV"], taken["ours"]),
        "second_crop_speedup": ratio(taken["ours"], taken["ours again"]),
        "second_crop_speedup_in_another_process": ratio(taken["ours"], taken["ours, in another process"]),
    }
    rows = [[name, *(1000 * np.quantile(times, (0.5, 0.25, 0.75))).tolist()] for name, times in taken.items()]
    table(f"Crop of {CROP_FRAMES} frames over {CROP_S:g} s: {opened!r}", ["reader", "ms", "from", "to"], rows)
    table("Ratios", ["ratio", "median", "from", "to"], [[name, *found.values()] for name, found in ratios.items()])
    return ratios


def memory_growth(folder: Path, crops: int) -> dict[str, float]:
    """Memory of this process and its decoder over many crops of many videos, with caches that fill up early."""
    (folder / "memory").mkdir()
    films = list(numbered(folder / "memory", 300).values())
    reader.forget_frames(max_bytes=2**24)
    rng = np.random.default_rng(2)
    marks = {}
    for i in range(crops):
        opened = open_video(films[i % len(films)])
        start = rng.uniform(opened.times[0], opened.duration_s - 4)
        opened.clip(start, start + 4, 2.0, 8, 96 * 96, 32)
        if i + 1 in (crops // 5, crops):
            marks[i + 1] = _memory_mib()
    reader.forget_frames()
    before, after = marks[crops // 5], marks[crops]
    found = {"before": round(before, 1), "after": round(after, 1), "growth": round(after / before, 3)}
    table(f"Memory over {crops} crops, MiB", ["after a fifth", "after all", "ratio"], [list(found.values())])
    return found


def _memory_mib() -> float:
    pids = [psutil.Process().pid, reader.decode_process().pid]
    return sum(psutil.Process(pid).memory_info().rss for pid in pids if pid) / 2**20


if __name__ == "__main__":
    main()
