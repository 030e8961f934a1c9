"""The stage of the masks: its gates one by one, and the world's own masks at the size of a run."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.masks import MaskConfig
from configs.run import Config
from synth.pipeline.make_stage import segmenter_of
from synth.record import Mask, Record, Rejected, Target
from synth.segmenter import SegmentedInstance
from synth.stages.mask_gates import target_of
from synth.stages.masks import clearest, find_masks, look_times
from synth.world.render import instance_mask, render_frame, write_video
from synth.world.sampling import make_world
from synth.world.segmenter import tag_of
from synth.world.world import SHAPES, Instance, World
from tests.films import movies
from tools.decoding.frame import DeadlineError, VideoError
from tools.decoding.video import open_video
from tools.marks import rle

HEIGHT, WIDTH = 120, 160
CONFIG = MaskConfig()


def blob(x: int = 60, y: int = 40, w: int = 24, h: int = 24) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = True
    return mask


def instance(*masks: np.ndarray | None, score: float = 0.9) -> SegmentedInstance:
    return SegmentedInstance(masks, score)


STEADY = instance(blob(), blob(64), blob(70, 44))


def reason(*instances: SegmentedInstance) -> str:
    with pytest.raises(Rejected) as caught:
        target_of(instances, CONFIG)
    return str(caught.value)


def test_the_surest_instance_is_the_target() -> None:
    other = instance(blob(10), blob(10), blob(10), score=0.6)
    assert target_of([other, STEADY], CONFIG) is STEADY


@pytest.mark.parametrize("found", [[], [instance(None, None, None)], [dataclasses.replace(STEADY, score=0.49)]])
def test_none_that_fits_is_rejected(found: list[SegmentedInstance]) -> None:
    assert reason(*found) == "no instance fits the tag"


def test_one_that_fits_just_well_enough_passes() -> None:
    assert target_of([dataclasses.replace(STEADY, score=0.5)], CONFIG).score == 0.5


def test_a_look_alike_is_rejected() -> None:
    assert reason(STEADY, instance(None, blob(10), None, score=0.71)) == "several instances fit the tag"


@pytest.mark.parametrize("other", [instance(None, blob(10), None, score=0.69), instance(None, None, None, score=0.9)])
def test_one_that_fits_less_or_is_never_seen_is_no_look_alike(other: SegmentedInstance) -> None:
    assert target_of([STEADY, other], CONFIG) is STEADY


def test_in_sight_too_seldom_is_rejected() -> None:
    assert reason(instance(None, blob(), None)) == "in sight in too few looks"


def test_in_sight_in_half_of_the_looks_passes() -> None:
    target_of([instance(None, blob(), None, blob())], CONFIG)


def test_too_small_is_rejected_and_just_large_enough_passes() -> None:
    assert reason(instance(*[blob(w=3, h=3)] * 3)) == "too small"
    target_of([instance(*[blob(w=5, h=2)] * 3)], CONFIG)


def test_too_large_is_rejected_and_just_small_enough_passes() -> None:
    assert reason(instance(*[blob(20, 10, 108, 90)] * 3)) == "too large"
    target_of([instance(*[blob(20, 10, 106, 90)] * 3)], CONFIG)


def test_one_odd_look_does_not_make_the_size() -> None:
    target_of([instance(blob(), blob(w=3, h=3, x=0), blob())], CONFIG)


def test_cut_off_by_the_border_is_rejected_and_just_less_passes() -> None:
    assert reason(instance(*[blob(0, 40, 4, 24)] * 3)) == "cut off by the border"
    target_of([instance(*[blob(0, 40, 8, 24)] * 3)], CONFIG)


def test_a_jump_is_rejected_and_one_just_shorter_passes() -> None:
    assert reason(instance(blob(4, 4, 20, 20), blob(130, 94, 20, 20))) == "unsteady: jumps from look to look"
    target_of([instance(blob(4, 4, 20, 20), blob(120, 94, 20, 20))], CONFIG)


def test_a_sudden_growth_is_rejected_and_one_just_smaller_passes() -> None:
    small = blob(w=20, h=20)
    assert reason(instance(small, blob(w=35, h=35))) == "unsteady: the area changes from look to look"
    target_of([instance(small, blob(w=34, h=34))], CONFIG)


def test_another_shape_is_rejected_and_one_just_more_alike_passes() -> None:
    lying, standing = blob(40, 40, 44, 16), blob(40, 40, 16, 44)
    assert reason(instance(lying, standing)) == "unsteady: the shape changes from look to look"
    target_of([instance(blob(40, 40, 40, 17), blob(40, 40, 17, 40))], CONFIG)


def test_what_enters_the_picture_may_grow() -> None:
    target_of([instance(blob(-18), blob(0), blob(20))], CONFIG)


def test_what_comes_back_may_have_changed() -> None:
    target_of([instance(blob(4, 4, 8, 8), None, blob(130, 80, 24, 24))], CONFIG)


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=300, unique=True).map(sorted),
    st.floats(-5, 35),
    st.floats(0, 30),
)
def test_looks_are_frames_of_the_window_by_rising_time(times: list[float], start_s: float, length_s: float) -> None:
    shown, end_s = np.array(times), start_s + length_s
    inside = shown[(shown >= start_s - 1e-6) & (shown <= end_s + 1e-6)]
    looks = look_times(shown, start_s, end_s, CONFIG)
    assert set(looks) <= set(inside.tolist())
    assert looks == sorted(set(looks))
    assert min(3, len(inside)) <= len(looks) <= CONFIG.max_looks


def test_looks_are_a_second_apart() -> None:
    times = np.arange(0, 20, 1 / 25)
    assert look_times(times, 2.0, 7.0, CONFIG) == pytest.approx([2, 3, 4, 5, 6, 7])
    assert look_times(times, 2.0, 2.4, CONFIG) == pytest.approx([2, 2.2, 2.4])
    assert len(look_times(np.arange(0, 600, 0.5), 0, 600, CONFIG)) == CONFIG.max_looks
    assert look_times(times, 2.01, 2.02, CONFIG) == look_times(times, 30, 40, CONFIG) == []


def as_masks(*masks: np.ndarray) -> tuple[Mask, ...]:
    encoded = [rle.encode(mask) for mask in masks]
    return tuple(Mask(float(i), code, rle.box(code)) for i, code in enumerate(encoded))


@pytest.mark.parametrize(
    ("masks", "best"),
    [
        ([blob(w=10, h=10), blob(w=16, h=16), blob(w=20, h=20)], 2),
        ([blob(0, 40), blob(60, 40), blob(136, 40)], 1),
        ([blob(), blob(), blob(40, 40, 40, 40), blob(), blob()], 0),
        ([blob(), blob(), blob(), blob(), blob()], 2),
        ([blob()], 0),
    ],
    ids=["the largest", "off the border", "not a slip", "the middle one", "the only one"],
)
def test_the_clearest_look(masks: list[np.ndarray], best: int) -> None:
    assert clearest(as_masks(*masks)).time_s == best


def test_none_is_the_clearest_of_none() -> None:
    with pytest.raises(ValueError, match="none of no masks"):
        clearest(())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 frames of 160x120 from 5 s to 8 s."""
    return movies.write(tmp_path_factory.mktemp("masks") / "video.mp4", range(40, 64), size=(WIDTH, HEIGHT))


class Told:
    """A segmenter that gives what it is told to and remembers what it was asked."""

    def __init__(self, *instances: SegmentedInstance) -> None:
        self.given, self.timeout_s = list(instances), 0.0
        self.times: list[float] = []

    def instances(self, record: Record, times: Sequence[float], timeout_s: float) -> list[SegmentedInstance]:
        self.times, self.timeout_s = list(times), timeout_s
        return self.given


def record_of(
    video: str, start_s: float = 5.0, end_s: float = 8.0, tag: str = "small red square", **facts: int
) -> Record:
    target = Target("it", tag, start_s, end_s, "What is <vp>?")
    return Record("r", "test", video, "What is it?", "red", facts=facts, target=target)


def test_a_record_gets_the_masks_of_its_target(video: str) -> None:
    told = Told(instance(blob(), None, blob(66)))
    record = record_of(video)
    found = find_masks(record, told, CONFIG)
    assert told.times == [5.0, 6.0, 7.0]
    assert 0 < told.timeout_s <= CONFIG.timeout_s
    assert [mask.time_s for mask in found.masks] == [5.0, 7.0]
    assert found.masks[1].box == (66, 40, 24, 24)
    assert np.array_equal(rle.decode(found.masks[0].rle), blob())
    assert dataclasses.replace(found, masks=()) == record
    assert Record.from_dict(found.to_dict()) == found


def test_a_window_outside_of_the_video_is_rejected(video: str) -> None:
    with pytest.raises(Rejected, match="no frame in the window"):
        find_masks(record_of(video, 0.0, 4.9), Told(), CONFIG)
    with pytest.raises(Rejected, match="no frame in the window"):
        find_masks(record_of(video, 7.0, 6.0), Told(), CONFIG)


def test_what_cannot_be_worked_on_is_told(video: str, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be opened"):
        find_masks(record_of(str(tmp_path / "gone.mp4")), Told(), CONFIG)
    with pytest.raises(ValueError, match="has no target"):
        find_masks(dataclasses.replace(record_of(video), target=None), Told(), CONFIG)
    with pytest.raises(ValueError, match="gave 1 masks"):
        find_masks(record_of(video), Told(instance(blob())), CONFIG)
    with pytest.raises(ValueError, match="2, 2"):
        find_masks(record_of(video), Told(instance(blob(), blob(), np.ones((2, 2), bool))), CONFIG)


SEEDS, EACH = 12, 24


@pytest.fixture(scope="module")
def worlds(config: Config, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[World, str]]:
    """World and real file of each seed."""
    folder = tmp_path_factory.mktemp("worlds")
    made = [(make_world(seed, config.world), str(folder / f"{seed}.mp4")) for seed in range(SEEDS)]
    for world, path in made:
        write_video(world, path, config.world)
    return made


def by_colour(target: Instance, other: Instance, shown: str | None) -> bool:
    return shown == target.colour


def by_shape(target: Instance, other: Instance, shown: str | None) -> bool:
    return other.shape == target.shape


def by_all(target: Instance, other: Instance, shown: str | None) -> bool:
    same_size = abs(other.radius - target.radius) < 0.01
    striped = other.striped or not target.striped
    return by_colour(target, other, shown) and by_shape(target, other, shown) and same_size and striped


def looks_alike(world: World, index: int, times: list[float], size_px: int, alike: Callable[..., bool]) -> bool:
    """Whether another instance could be meant at one of the times, read from the world alone."""
    return any(
        alike(world.instances[index], thing, world.colour(other, t)) and instance_mask(world, other, t, size_px).any()
        for other, thing in enumerate(world.instances)
        for t in times
        if other != index
    )


def painted(world: World, index: int, t: float, size_px: int) -> np.ndarray:
    """[size, size] bool: the pixels of the picture that are as they are because of an instance."""
    others = tuple(thing for i, thing in enumerate(world.instances) if i != index)
    without = dataclasses.replace(world, instances=others)
    return (render_frame(world, t, size_px) != render_frame(without, t, size_px)).any(-1)


@pytest.mark.process
@pytest.mark.parametrize(
    ("tag", "alike", "fewest", "doubtful"),
    [
        (tag_of, by_all, 180, False),  # no two have, or flash, one colour
        (lambda world, i: f"the {world.instances[i].colour} thing", by_colour, 135, False),
        (lambda world, i: f"one {world.instances[i].shape} there", by_shape, 60, True),
    ],
    ids=["whole tag", "colour", "shape"],
)
def test_marks_are_on_the_right_instance_and_look_alikes_are_rejected(
    worlds: list[tuple[World, str]],
    config: Config,
    tag: Callable[..., str],
    alike: Callable[..., bool],
    fewest: int,
    doubtful: bool,
) -> None:
    """Records about every instance, in windows anywhere in the videos."""
    segmenter, size_px = segmenter_of("world", config.world), config.world.size_px
    passed = ambiguous = 0
    for world, path in worlds:
        rng = np.random.default_rng([world.seed, 1])
        video = open_video(path)
        for _ in range(EACH):
            index = int(rng.integers(len(world.instances)))
            start_s = float(rng.uniform(0, world.duration_s - 3))
            end_s = start_s + float(rng.uniform(2, 6))
            record = record_of(path, start_s, end_s, tag(world, index), seed=world.seed, target=index)
            two = looks_alike(world, index, look_times(video.times, start_s, end_s, CONFIG), size_px, alike)
            ambiguous += two
            try:
                found = find_masks(record, segmenter, CONFIG)
            except Rejected:
                continue
            assert not two, record
            mark = clearest(found.masks)
            assert start_s <= mark.time_s <= end_s
            truth = painted(world, index, mark.time_s, size_px)
            found_mask = rle.decode(mark.rle)
            assert (found_mask & truth).sum() > 0.9 * (found_mask | truth).sum(), record
            [frame] = video.frames_at([mark.time_s], size_px**2, 1)
            shown = render_frame(world, mark.time_s, size_px).astype(int)
            assert np.abs(frame.pixels - shown)[truth].mean() < 30, "the file shows it at that very time"
            passed += 1
    assert passed >= fewest
    assert ambiguous >= 10 if doubtful else ambiguous == 0


def seen_alone(world: World, index: int) -> tuple[float, float]:
    """A stretch of a world in which an instance is in sight all the time."""
    for t in np.arange(0, world.duration_s - 3, 0.5).tolist():
        if all(instance_mask(world, index, t + s, 64).any() for s in (0, 1, 2)):
            return float(t), float(t + 2)
    raise AssertionError("none")


def test_a_tag_that_names_another_instance_is_never_followed(worlds: list[tuple[World, str]], config: Config) -> None:
    for world, path in worlds:
        start_s, end_s = seen_alone(world, 0)
        others = [i for i in range(1, len(world.instances)) if instance_mask(world, i, start_s, 64).any()]
        record = record_of(path, start_s, end_s, tag_of(world, others[0]), seed=world.seed, target=0)
        with pytest.raises(Rejected, match="several instances"):
            find_masks(record, segmenter_of("world", config.world), CONFIG)


def test_a_tag_that_fits_nothing_finds_nothing_and_one_that_says_nothing_finds_all(
    worlds: list[tuple[World, str]], config: Config
) -> None:
    world, path = worlds[0]
    start_s, end_s = seen_alone(world, 0)
    facts = {"seed": world.seed, "target": 0}
    unused = next(shape for shape in SHAPES if shape != world.instances[0].shape)
    for tag, why in ((f"striped white {unused}", "no instance"), ("the moving thing", "several instances")):
        with pytest.raises(Rejected, match=why):
            find_masks(record_of(path, start_s, end_s, tag, **facts), segmenter_of("world", config.world), CONFIG)


def test_what_is_not_of_the_world_is_told(worlds: list[tuple[World, str]], video: str, config: Config) -> None:
    segmenter = segmenter_of("world", config.world)
    with pytest.raises(ValueError, match="no seed and target of the procedural world"):
        segmenter.instances(record_of(video), [5.0], 9.0)
    with pytest.raises(ValueError, match="none is 9"):
        segmenter.instances(record_of(video, seed=0, target=9), [5.0], 9.0)
    with pytest.raises(DeadlineError):
        segmenter.instances(record_of(video, seed=0, target=0), [5.0], -1.0)


def test_no_name_is_no_segmenter(config: Config) -> None:
    with pytest.raises(ValueError, match="no segmenter is named"):
        segmenter_of(" ", config.world)
