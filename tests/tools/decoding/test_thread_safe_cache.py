import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tools.decoding.thread_safe_cache import ThreadSafeCache


def cache_of(most: int) -> ThreadSafeCache[int, np.ndarray]:
    return ThreadSafeCache(most, lambda pixels: pixels.nbytes)


@given(sizes=st.lists(st.integers(1, 60), max_size=40))
def test_the_newest_frames_within_the_budget_are_kept(sizes: list[int]) -> None:
    cache = cache_of(100)
    for i, size in enumerate(sizes):
        cache.keep(i, np.zeros(size, np.uint8))
    kept = [i for i in range(len(sizes)) if cache.get(i) is not None]
    assert sum(sizes[i] for i in kept) <= 100
    assert kept == list(range(len(sizes) - len(kept), len(sizes)))
    older = len(sizes) - len(kept) - 1
    assert older < 0 or sum(sizes[older:]) > 100


def test_a_frame_that_is_used_stays() -> None:
    cache = cache_of(100)
    for i in range(5):
        cache.keep(i, np.zeros(40, np.uint8))
        cache.get(0)
    assert cache.get(0) is not None
    assert cache.get(3) is None


def test_the_first_of_two_that_were_made_at_once_is_kept() -> None:
    cache: ThreadSafeCache[str, list[int]] = ThreadSafeCache(2)
    first = cache.keep("a", [1])
    assert cache.keep("a", [1]) is first is cache.get("a")


def test_a_frame_over_the_whole_budget_is_not_kept() -> None:
    cache = cache_of(100)
    cache.keep(1, np.zeros(50, np.uint8))
    assert cache.keep(0, np.zeros(101, np.uint8)).size == 101
    assert cache.get(0) is None
    assert cache.get(1) is not None
