"""High dynamic range pictures as ordinary ones: PQ and HLG in BT.2020 to sRGB.

Without this a frame of a phone's HDR video looks washed out to a model. Reference white (203 cd/m2, ITU-R BT.2408) goes
to a light grey, and what is brighter, up to 1000 cd/m2, into the rest (extended Reinhard on the brightest channel).
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from av.video.reformatter import ColorTrc

WHITE_NITS = 203.0
PEAK_NITS = 1000.0
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def to_srgb(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """[H, W, 3] uint16 of BT.2020 with an HDR transfer characteristic to [H, W, 3] uint8 sRGB."""
    linear = _decoded(transfer)[pixels]
    linear = np.maximum(linear @ BT2020_TO_BT709.T, 0.0)
    brightest = linear.max(2, keepdims=True)
    peak = PEAK_NITS / WHITE_NITS
    toned = linear * ((1 + brightest / peak**2) / (1 + brightest))
    return _ENCODED[(np.clip(toned, 0.0, 1.0) * (len(_ENCODED) - 1) + 0.5).astype(np.uint16)]


_LIGHT = np.arange(65536) / 65535
_ENCODED = np.round(255 * np.where(_LIGHT <= 0.0031308, 12.92 * _LIGHT, 1.055 * _LIGHT ** (1 / 2.4) - 0.055)).astype(
    np.uint8
)
"""[65536] uint8: sRGB of evenly spaced light from 0 to 1."""


@cache
def _decoded(transfer: int) -> np.ndarray:
    """[65536] float32: light of each value."""
    return TRANSFERS[transfer](np.arange(65536, dtype=np.float32) / 65535)


def _pq(signal: np.ndarray) -> np.ndarray:
    """Light relative to reference white (SMPTE ST 2084)."""
    root = signal ** (1 / 78.84375)
    light = (np.maximum(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return (light * 10_000 / WHITE_NITS).astype(np.float32)


def _hlg(signal: np.ndarray) -> np.ndarray:
    """Light relative to reference white on a display of `PEAK_NITS` (ITU-R BT.2100; gamma 1.2 on each channel)."""
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return (scene**1.2 * PEAK_NITS / WHITE_NITS).astype(np.float32)


TRANSFERS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    int(ColorTrc.SMPTE2084): _pq,
    int(ColorTrc.ARIB_STD_B67): _hlg,
}
"""Transfer characteristics that are brought to sRGB."""
