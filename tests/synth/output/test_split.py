import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.output.split import split_of

NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(lambda name: name.strip("."))
SEEDS = st.integers(0, 2**32)
FRACTIONS = st.floats(0, 1)


@given(NAMES, SEEDS, FRACTIONS)
def test_a_video_is_on_one_side_wherever_it_lies_and_however_it_is_wrapped(
    name: str, seed: int, fraction: float
) -> None:
    side = split_of(f"/data/{name}.mp4", seed, fraction)
    assert side == split_of(f"elsewhere/{name}.webm", seed, fraction)


@given(NAMES, SEEDS, FRACTIONS, FRACTIONS)
def test_a_greater_fraction_takes_no_video_out_of_test(name: str, seed: int, one: float, other: float) -> None:
    small, great = sorted((one, other))
    assert not (split_of(name, seed, small) == "test" and split_of(name, seed, great) == "train")


@given(NAMES, SEEDS)
def test_the_ends_of_the_fraction_are_all_and_nothing(name: str, seed: int) -> None:
    assert (split_of(name, seed, 0.0), split_of(name, seed, 1.0)) == ("train", "test")


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_the_share_of_test_is_the_fraction(fraction: float) -> None:
    count = sum(split_of(f"{i}.mp4", 0, fraction) == "test" for i in range(4000))
    assert count / 4000 == pytest.approx(fraction, abs=4 * (fraction * (1 - fraction) / 4000) ** 0.5)


def test_a_side_is_the_same_in_every_run_and_another_with_another_seed() -> None:
    sides = ["".join(split_of(f"{i}.mp4", seed, 0.5)[1] for i in range(16)) for seed in (0, 1)]
    # The second letter of each side. They may never change: a run that goes on relies on them.
    assert sides == ["rrerreerrerereer", "ererrerrerreeeee"]


def test_videos_named_alike_are_on_one_side() -> None:
    assert len({split_of(f"{i:04d}/video.mp4", 0, 0.5) for i in range(40)}) == 1


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_an_error(fraction: float) -> None:
    with pytest.raises(ValueError, match="test_fraction must be between 0 and 1"):
        split_of("a.mp4", 0, fraction)
