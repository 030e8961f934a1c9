"""Small videos whose frames show their own number, so that a wrong frame is seen to be wrong."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 9


def picture(number: int, width: int = 192, height: int = 192) -> np.ndarray:
    """[height, width, 3]: the number's bits as a 3x3 grid of black and white blocks."""
    bits = np.array([number % 2**BITS >> bit & 1 for bit in range(BITS)], np.uint8).reshape(3, 3)
    grid = bits.repeat(-(-height // 3), 0).repeat(-(-width // 3), 1)[:height, :width]
    return np.repeat((grid * 215 + 20)[..., None], 3, 2).astype(np.uint8)


def number(pixels: np.ndarray) -> int:
    """The number that a picture shows, at whatever size."""
    height, width = pixels.shape[:2]
    centres = pixels[np.ix_(*[[int(n * (i + 0.5) / 3) for i in range(3)] for n in (height, width)])].mean(-1)
    return sum(1 << bit for bit, value in enumerate(centres.ravel()) if value > 128)


def write(
    path: Path,
    ticks: Sequence[int],
    time_base: Fraction = Fraction(1, 8),
    size: tuple[int, int] = (192, 192),
    gop: int = 16,
    b_frames: int = 2,
    container: str | None = None,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    codec_options: dict[str, str] | None = None,
) -> str:
    """A video whose i-th frame shows i and is stamped `ticks[i] * time_base`."""
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=8)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        stream.options = {"g": str(gop), "bf": str(b_frames), **CODEC_OPTIONS.get(codec, {}), **(codec_options or {})}
        for i, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            frame.pts, frame.time_base = tick, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return str(path)


CODEC_OPTIONS = {
    "libx264": {"preset": "veryfast", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=1:keyint=16:bframes=3:scenecut=0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "8"},
}


def trim(path: str, to: Path, first: int) -> str:
    """A copy of an MP4 without re-encoding that begins at frame `first`: the file holds frames before it, from the
    keyframe on, and an edit list that hides them, as cutting tools write it."""
    with av.open(path) as source, av.open(str(to), "w", options={"movflags": "+use_metadata_tags"}) as output:
        old = source.streams.video[0]
        new = output.add_stream_from_template(old)
        packets = [packet for packet in source.demux(old) if packet.pts is not None]
        start = sorted(packet.pts for packet in packets)[first]
        key = max(packet.pts for packet in packets if packet.is_keyframe and packet.pts <= start)
        for packet in packets:
            if packet.pts >= key:
                packet.pts -= start
                packet.dts -= start
                packet.stream = new
                output.mux(packet)
    return str(to)


def write_sound(path: Path) -> str:
    """A file with an audio stream only."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        for i in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, i * 1024
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return str(path)


def rotate(path: str, to: Path) -> str:
    """A copy of an MP4 that asks players to turn it by 90 degrees clockwise, as phones' portrait videos do."""
    data = bytearray(Path(path).read_bytes())
    upright = b"".join(n.to_bytes(4, "big", signed=True) for n in (1 << 16, 0, 0, 0, 1 << 16, 0))
    turned = b"".join(n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -(1 << 16), 0, 0))
    start = data.index(upright, data.index(b"tkhd"))
    data[start : start + len(turned)] = turned
    to.write_bytes(data)
    return str(to)


def write_pictures(path: Path, pictures: Sequence[np.ndarray], rate: int = 8) -> str:
    """A video of these pictures, [H, W, 3] uint8, of little loss."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"g": str(rate), "crf": "16", "preset": "veryfast"}
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return str(path)
