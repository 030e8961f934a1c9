from pathlib import Path

import numpy as np
import pytest

from configs.run import Config
from env.task import Task
from synth.world.render import instance_mask, render_frame
from synth.world.sampling import make_world
from synth.world.world import CELLS, COLOURS, SLOT_S
from tools.decoding.video import open_video


def test_a_world_is_a_function_of_its_seed(config: Config) -> None:
    assert make_world(5, config.world) == make_world(5, config.world)
    assert make_world(5, config.world) != make_world(6, config.world)


@pytest.mark.parametrize("seed", range(5))
def test_the_mask_covers_what_the_frame_shows_of_the_instance(seed: int, config: Config) -> None:
    world = make_world(seed, config.world)
    for t in np.arange(0.5, world.duration_s, 1.7).tolist():
        frame = render_frame(world, t, 128).astype(int)
        for index in range(len(world.instances)):
            mask, colour = instance_mask(world, index, t, 128), world.colour(index, t)
            if colour is None:
                assert not mask.any()
            elif mask.any() and not world.instances[index].striped:
                assert np.abs(frame[mask] - np.array(COLOURS[colour])).max() == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_centre_of_the_mask_lies_in_the_named_cell(seed: int, config: Config) -> None:
    world = make_world(seed, config.world)
    checked = 0
    for t in np.arange(0.25, world.duration_s, SLOT_S).tolist():
        for index in range(len(world.instances)):
            cell = world.cell(index, t)
            mask = instance_mask(world, index, t, 96)
            if cell is None or not mask.any():
                continue
            y, x = np.argwhere(mask).mean(0)
            assert CELLS.index(cell) == int(y // 32) * 3 + int(x // 32)
            checked += 1
    assert checked > 5


def test_instances_at_rest_do_not_hide_each_other(config: Config) -> None:
    for seed in range(20):
        world = make_world(seed, config.world)
        for slot in range(world.slots):
            masks = [instance_mask(world, i, slot * SLOT_S + 0.2, 128) for i in range(len(world.instances))]
            assert np.sum(masks, axis=0).max() <= 1


def test_what_flashes_is_no_ones_own_colour(config: Config) -> None:
    flashed: set[str] = set()
    for seed in range(40):
        world = make_world(seed, config.world)
        own = [colour for instance in world.instances for colour in instance.colours]
        assert len(set(own)) == len(own)
        for slot in range(world.slots):
            events = [instance.events[slot] for instance in world.instances]
            shown = [event.value for event in events if event and event.kind in ("flash", "double")]
            assert len({colours[0] for colours in shown}) == len(shown)
            assert not {colour for colours in shown for colour in colours} & set(own)
            flashed |= {colour for colours in shown for colour in colours}
    assert flashed == set(COLOURS)


def test_the_file_shows_the_world_at_true_times(small_data: tuple[Path, list[Task]], config: Config) -> None:
    _, tasks = small_data
    task = tasks[0]
    world = make_world(task.facts["seed"], config.world)
    video, size = open_video(task.video), config.world.size_px
    assert video.duration_s == pytest.approx(world.duration_s)
    for frame in video.frames_at([0.0, 5.3, world.duration_s - 0.01], size * size, 32):
        truth = render_frame(world, frame.time_s, size).astype(int)
        assert np.abs(frame.pixels.astype(int) - truth).mean() < 6
