import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tools.decoding.frame import FrameRef
from tools.decoding.frame_cache import FrameCache, Key


def key(i: int) -> Key:
    return FrameRef("film.mp4", float(i), 10, 10), (1, 1)


@given(sizes=st.lists(st.integers(1, 60), max_size=40))
def test_the_newest_frames_within_the_budget_are_kept(sizes):
    cache = FrameCache(100)
    for i, size in enumerate(sizes):
        cache.put(key(i), np.zeros(size, np.uint8))
    kept = [i for i in range(len(sizes)) if cache.get(key(i)) is not None]
    assert sum(sizes[i] for i in kept) <= 100
    assert kept == list(range(len(sizes) - len(kept), len(sizes)))
    older = len(sizes) - len(kept) - 1
    assert older < 0 or sum(sizes[older:]) > 100


def test_a_frame_that_is_used_stays():
    cache = FrameCache(100)
    for i in range(5):
        cache.put(key(i), np.zeros(40, np.uint8))
        cache.get(key(0))
    assert cache.get(key(0)) is not None
    assert cache.get(key(3)) is None


def test_a_file_that_changed_is_another_key():
    cache = FrameCache(100)
    cache.put(key(0), np.zeros(10, np.uint8))
    assert cache.get((key(0)[0], (1, 2))) is None


def test_a_frame_over_the_whole_budget_is_not_kept():
    cache = FrameCache(100)
    cache.put(key(0), np.zeros(101, np.uint8))
    assert cache.get(key(0)) is None
