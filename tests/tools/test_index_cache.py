"""Indexes on disk: the same as made anew, and never another file's."""

import os
import shutil
from fractions import Fraction

import numpy as np
import pytest

from tests.tools import movies
from tools import index_cache
from tools.index_cache import IndexCache
from tools.pyav_reader import PyavReader


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(index_cache, "MIN_FRAMES", 1)
    return IndexCache(tmp_path / "cache")


def test_a_reader_with_a_kept_index_reads_the_same(films, cache):
    made = PyavReader(films["mkv"])
    cache.save(films["mkv"], made.index, decord=True)
    index, decord = cache.load(films["mkv"])
    assert decord is True
    assert index.time_base == made.index.time_base == Fraction(1, 1000)
    assert np.array_equal(index.pts, made.index.pts)
    assert np.array_equal(index.keys, made.index.keys)
    assert (index.end, index.width, index.height) == (made.index.end, 192, 192)
    kept = PyavReader(films["mkv"], index)
    for i in (70, 3, 119, 0):
        assert movies.number(kept.read(i)[1]) == movies.number(made.read(i)[1]) == i


def test_a_file_that_changed_has_no_index(films, cache, tmp_path):
    film = tmp_path / "film.mp4"
    shutil.copy(films["even"], film)
    cache.save(str(film), PyavReader(str(film)).index)
    assert cache.load(str(film))[0] is not None
    os.utime(film, ns=(1, 1))
    assert cache.load(str(film)) == (None, None)
    cache.save(str(film), PyavReader(str(film)).index)
    # The same size and time, another beginning.
    film.write_bytes(bytes(100) + film.read_bytes()[100:])
    os.utime(film, ns=(1, 1))
    assert cache.load(str(film)) == (None, None)


def test_a_torn_index_is_as_good_as_none(films, cache):
    cache.save(films["even"], PyavReader(films["even"]).index)
    [file] = cache._folder.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    assert cache.load(films["even"]) == (None, None)
    file.write_bytes(b"")
    assert cache.load(films["even"]) == (None, None)


def test_a_short_video_s_index_is_not_worth_keeping(films, tmp_path):
    cache = IndexCache(tmp_path / "cache")
    cache.save(films["even"], PyavReader(films["even"]).index)
    assert cache.load(films["even"]) == (None, None)


def test_the_longest_unused_go_when_there_are_too_many(films, cache, monkeypatch):
    monkeypatch.setattr(index_cache, "MAX_FILES", 2)
    for i, name in enumerate(["even", "late", "mkv"]):
        cache.save(films[name], PyavReader(films[name]).index)
        if name != "mkv":
            os.utime(cache._file(films[name]), (i, i))
    assert cache.load(films["even"])[0] is None
    assert cache.load(films["mkv"])[0] is not None
    assert len(list(cache._folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "rate"), [("even", 8), ("uneven", None), ("late", 8), ("mkv", None), ("ts", 8), ("fragmented", 8)]
)
def test_the_rate_is_exact_or_variable(films, name, rate):
    assert PyavReader(films[name]).index.rate == rate


def test_rounding_to_milliseconds_is_not_a_variable_rate(tmp_path):
    ticks = [round(i * 1000 * 1001 / 30000) for i in range(200)]
    path = movies.write(tmp_path / "ntsc.mkv", ticks, Fraction(1, 1000))
    assert float(PyavReader(path).index.rate) == pytest.approx(30000 / 1001, abs=0.01)
