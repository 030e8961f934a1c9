"""Indexes on disk: the same as made anew, and never another file's."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.films import movies
from tools.decoding import index_cache
from tools.decoding.index import Index
from tools.decoding.index_cache import IndexCache
from tools.decoding.pyav_reader import PyavReader


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IndexCache:
    monkeypatch.setattr(index_cache, "MIN_FRAMES", 1)
    return IndexCache(tmp_path / "cache")


def keep(cache: IndexCache, path: str, index: Index, decord: bool | None = None) -> None:
    cache.save(cache.entry(path), path, index, decord)


def test_a_reader_with_a_kept_index_reads_the_same(films: dict[str, str], cache: IndexCache) -> None:
    made = PyavReader(films["mkv"])
    keep(cache, films["mkv"], made.index, decord=True)
    index, decord = cache.load(cache.entry(films["mkv"]))
    assert decord is True
    assert index is not None
    assert index.time_base == made.index.time_base == Fraction(1, 1000)
    assert np.array_equal(index.pts, made.index.pts)
    assert np.array_equal(index.keys, made.index.keys)
    assert (index.end, index.width, index.height) == (made.index.end, 192, 192)
    kept = PyavReader(films["mkv"], index)
    for i in (70, 3, 119, 0):
        assert movies.number(kept.read(i)[1]) == movies.number(made.read(i)[1]) == i


def test_a_file_that_changed_has_no_index(films: dict[str, str], cache: IndexCache, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    shutil.copy(films["even"], film)
    keep(cache, str(film), PyavReader(str(film)).index)
    assert cache.load(cache.entry(str(film)))[0] is not None
    os.utime(film, ns=(1, 1))
    assert cache.load(cache.entry(str(film))) == (None, None)
    keep(cache, str(film), PyavReader(str(film)).index)
    # The same size and time, another beginning.
    film.write_bytes(bytes(100) + film.read_bytes()[100:])
    os.utime(film, ns=(1, 1))
    assert cache.load(cache.entry(str(film))) == (None, None)


def test_an_index_of_a_file_that_grew_meanwhile_is_not_kept(
    films: dict[str, str], cache: IndexCache, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    shutil.copy(films["ts"], film)
    entry = cache.entry(str(film))
    index = PyavReader(str(film)).index
    with open(film, "ab") as growing:
        growing.write(bytes(188))
    cache.save(entry, str(film), index, decord=False)
    assert cache.load(entry) == cache.load(cache.entry(str(film))) == (None, None)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_raises(films: dict[str, str], cache: IndexCache, place: float, bit: int) -> None:
    keep(cache, films["even"], PyavReader(films["even"]).index)
    entry = cache.entry(films["even"])
    assert entry is not None
    data = bytearray(entry.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    entry.write_bytes(data)
    cache.load(entry)


def test_a_torn_index_is_as_good_as_none(films: dict[str, str], cache: IndexCache) -> None:
    keep(cache, films["even"], PyavReader(films["even"]).index)
    [file] = cache._folder.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    assert cache.load(cache.entry(films["even"])) == (None, None)
    file.write_bytes(b"")
    assert cache.load(cache.entry(films["even"])) == (None, None)


def test_a_short_video_s_index_is_not_worth_keeping(films: dict[str, str], tmp_path: Path) -> None:
    cache = IndexCache(tmp_path / "cache")
    keep(cache, films["even"], PyavReader(films["even"]).index)
    assert cache.load(cache.entry(films["even"])) == (None, None)


def test_the_longest_unused_go_when_there_are_too_many(
    films: dict[str, str], cache: IndexCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_cache, "MAX_FILES", 2)
    for i, name in enumerate(["even", "late", "mkv"]):
        keep(cache, films[name], PyavReader(films[name]).index)
        if name != "mkv":
            entry = cache.entry(films[name])
            assert entry is not None
            os.utime(entry, (i, i))
    assert cache.load(cache.entry(films["even"]))[0] is None
    assert cache.load(cache.entry(films["mkv"]))[0] is not None
    assert len(list(cache._folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "rate"), [("even", 8), ("uneven", None), ("late", 8), ("mkv", None), ("ts", 8), ("fragmented", 8)]
)
def test_the_rate_is_exact_or_variable(films: dict[str, str], name: str, rate: int | None) -> None:
    assert PyavReader(films[name]).index.rate == rate


def test_rounding_to_milliseconds_is_not_a_variable_rate(tmp_path: Path) -> None:
    ticks = [round(i * 1000 * 1001 / 30000) for i in range(200)]
    path = movies.write(tmp_path / "ntsc.mkv", ticks, Fraction(1, 1000))
    rate = PyavReader(path).index.rate
    assert rate is not None
    assert float(rate) == pytest.approx(30000 / 1001, abs=0.01)
