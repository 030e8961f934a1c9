"""Waits are on an account of their own, by a clock that stands still unless it is told otherwise."""

import threading
from types import SimpleNamespace

import pytest

from tools.decoding import waiting
from tools.decoding.frame import BusyError
from tools.decoding.waiting import Deadline, acquire, waits


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        with waiting.waiting(1e9):
            self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_a_deadline_counts_work_and_no_wait_whoever_waited(clock: Clock) -> None:
    clock.wait(500)
    deadline = Deadline(10.0)
    clock.now += 4
    clock.wait(70)
    assert deadline.left_s == 6.0
    with waits(100.0):
        inner = Deadline(3.0)
        clock.wait(20)
        assert inner.left_s == 3.0
    assert deadline.left_s == 6.0
    clock.now += 7
    assert deadline.left_s == -1.0


def test_the_waits_of_a_call_share_one_allowance_and_count_in_the_block_around_it(clock: Clock) -> None:
    with waits() as episode:
        with waits(10.0):
            for left in (10.0, 8.0, 6.0):
                with waiting.waiting(60.0) as at_most_s:
                    assert at_most_s == left
                    clock.now += 2
            with waiting.waiting(1.0) as at_most_s:
                assert at_most_s == 1.0
        with waits(10.0), waiting.waiting(60.0) as at_most_s:
            assert at_most_s == 10.0, "another call has its own"
            clock.now += 1
        assert episode.waited_s == 7.0


def test_who_has_waited_for_all_it_may_is_refused_at_once_and_others_are_not(clock: Clock) -> None:
    lock = threading.Lock()
    with lock, waits(10.0):
        clock.wait(10)
        with pytest.raises(BusyError, match="the tracker was busy for 10 s"):
            acquire(lock, "tracker", 60.0)
    with waits(10.0):
        clock.wait(10)
        acquire(lock, "tracker", 60.0)
    assert lock.locked()
