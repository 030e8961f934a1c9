"""Worlds as pixels: frames, exact masks, and real H.264 files."""

from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from configs.world import WorldConfig
from synth.video_file import write_frames
from synth.world.world import COLOURS, Instance, World


def render_frame(world: World, t: float, size_px: int) -> np.ndarray:
    """The frame at a time, [size, size, 3] uint8 RGB."""
    image = _background(world, t, size_px)
    for index, instance in enumerate(world.instances):
        colour = world.colour(index, t)
        if colour is not None:
            _paint(image, instance, world.position(index, t), COLOURS[colour])
    return image


def instance_mask(world: World, index: int, t: float, size_px: int) -> np.ndarray:
    """Exact mask of what can be seen of an instance at a time, [size, size] bool; later instances lie on top."""
    mask = np.zeros((size_px, size_px), bool)
    for other in range(index, len(world.instances)):
        if world.colour(other, t) is None:
            continue
        window, shape = _shape_mask(world.instances[other], world.position(other, t), size_px)
        mask[window] = shape if other == index else mask[window] & ~shape
    return mask


def write_video(world: World, path: str | Path, config: WorldConfig) -> None:
    """Encode a world as MP4 (H.264), whole or not at all."""
    count = round(world.duration_s * config.fps)
    frames = (render_frame(world, i / config.fps, config.size_px) for i in range(count))
    write_frames(path, frames, Fraction(config.fps), round(config.gop_s * config.fps))


def _background(world: World, t: float, size_px: int) -> np.ndarray:
    """A dim wavy texture that drifts."""
    hue, drift, grain = world.background
    axis = np.arange(size_px, dtype=np.float32) / size_px
    wave_x = np.sin(2 * np.pi * (axis * 2 + drift * t + hue))
    wave_y = np.cos(2 * np.pi * (axis * 3 - drift * t + hue))
    level = (70 + 22 * grain * (wave_x[None, :] * wave_y[:, None])).astype(np.uint8)
    return _palette(hue).take(level, axis=0)


@lru_cache(maxsize=16)
def _palette(hue: float) -> np.ndarray:
    """[256, 3] uint8: what a grey level becomes."""
    tint = np.array([1.0, 0.95 + 0.1 * hue, 1.1 - 0.1 * hue], np.float32)
    return (np.arange(256, dtype=np.float32)[:, None] * tint).clip(0, 255).astype(np.uint8)


def _paint(image: np.ndarray, instance: Instance, centre: tuple[float, float], rgb: tuple[int, int, int]) -> None:
    window, shape = _shape_mask(instance, centre, image.shape[0])
    if not shape.size:
        return
    patch = image[window]
    patch[shape] = rgb
    if instance.striped:
        rows = np.arange(patch.shape[0])[:, None] // max(2, image.shape[0] // 64)
        patch[shape & (rows % 3 == 0)] = np.array(rgb) // 2


def _shape_mask(
    instance: Instance, centre: tuple[float, float], size_px: int
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The window of the frame that an instance touches, and its mask within."""
    x, y, radius = centre[0] * size_px, centre[1] * size_px, instance.radius * size_px
    top, bottom = (min(max(int(edge), 0), size_px) for edge in (y - radius - 1, y + radius + 2))
    left, right = (min(max(int(edge), 0), size_px) for edge in (x - radius - 1, x + radius + 2))
    dy = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - y) / radius)[:, None]
    dx = ((np.arange(left, right, dtype=np.float32) + 0.5 - x) / radius)[None, :]
    mask = {
        "circle": lambda: dx**2 + dy**2 <= 1,
        "square": lambda: np.maximum(abs(dx), abs(dy)) <= 0.88,
        "triangle": lambda: (dy <= 0.8) & (abs(dx) <= (dy + 1) / 1.8),
        "diamond": lambda: abs(dx) + abs(dy) <= 1.1,
    }[instance.shape]()
    return (slice(top, bottom), slice(left, right)), mask
