"""High dynamic range videos, 10 bits and odd sizes."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from tools.decoding.hdr import to_srgb
from tools.decoding.video import open_video

PQ, HLG = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)
WHITE = {PQ: 0.5807, HLG: 0.75}
"""Signal of reference white (ITU-R BT.2408, table 1)."""


def grey(signal: float) -> np.ndarray:
    return np.full((1, 1, 3), round(signal * 65535), np.uint16)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_reference_white_is_a_light_grey_and_black_is_black(transfer: int) -> None:
    [[white]] = to_srgb(grey(WHITE[transfer]), transfer)
    assert np.ptp(white) <= 1
    assert 180 <= white[0] <= 200
    assert to_srgb(grey(0.0), transfer).max() == 0
    assert to_srgb(grey(1.0), transfer).min() >= 254


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_is_never_darker(transfer: int) -> None:
    ramp = np.linspace(0, 65535, 300).astype(np.uint16)
    shown = to_srgb(np.stack([ramp] * 3, -1)[None], transfer)[0, :, 1].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert len(set(shown.tolist())) > 100


def test_a_saturated_colour_stays_the_strongest() -> None:
    [[red]] = to_srgb(np.array([[[38000, 9000, 9000]]], np.uint16), PQ)
    assert red[0] > 2 * red[1]


@pytest.fixture
def hdr_film(tmp_path: Path) -> str:
    path = str(tmp_path / "hdr.mp4")
    with av.open(path, "w") as output:
        stream = output.add_stream("libx265", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.options = {
            "x265-params": "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited",
            "preset": "ultrafast",
        }
        for _ in range(8):
            image = np.full((48, 64, 3), round(WHITE[PQ] * 65535), np.uint16)
            frame = av.VideoFrame.from_ndarray(image, format="rgb48le").reformat(
                format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_range=ColorRange.MPEG
            )
            frame.color_primaries, frame.color_trc = ColorPrimaries.BT2020, ColorTrc.SMPTE2084
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def test_a_ten_bit_hdr_file_is_shown_as_it_should_look(hdr_film: str) -> None:
    [frame] = open_video(hdr_film).frames_at([0.5], 10**6, 1)
    assert frame.pixels.shape == (48, 64, 3)
    assert np.abs(frame.pixels.astype(int) - 190).max() <= 8


@pytest.mark.parametrize(
    ("codec", "pixels"), [("libx264", "yuv444p"), ("libvpx-vp9", "yuv420p"), ("libx264", "yuv420p10le")]
)
def test_odd_sizes_and_ten_bits_are_read(tmp_path: Path, codec: str, pixels: str) -> None:
    size = (66, 48) if "10" in pixels else (67, 45)
    path = str(tmp_path / "film.mkv")
    with av.open(path, "w") as output:
        stream = output.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for i in range(4):
            image = np.full((size[1], size[0], 3), (200, 60, 40 + 20 * i), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)))
        output.mux(stream.encode())
    video = open_video(path)
    [frame] = video.frames_at([0.3], 10**6, 1)
    assert (video.width, video.height) == size
    assert frame.pixels.shape == (size[1], size[0], 3)
    assert np.abs(frame.pixels[20, 20].astype(int) - (200, 60, 80)).max() <= 12
