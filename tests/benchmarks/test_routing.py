"""The benchmark of the routing plays every group that it orders."""

from benchmarks.routing import engine_busy


def test_every_engine_is_busy() -> None:
    assert 0 < engine_busy(2, 3) <= 1
