"""What a phase prints where there is no terminal."""

import io
import time
from typing import Any

import pytest
from rich.console import Console

from recipes import progress
from recipes.progress import LINES, phase


@pytest.fixture
def log() -> Any:
    return io.StringIO()


def test_a_phase_of_many_steps_prints_its_begin_its_end_and_a_few_lines_between(log: Any) -> None:
    with phase("sft", 1000, Console(file=log)) as bar:
        for done in range(1, 1001):
            bar.step(done, {"loss": 1 / done})
    first, *between, last = log.getvalue().splitlines()
    assert (first, last.split("  ")[0]) == ("… sft", "✓ sft")
    assert len(between) == LINES
    assert between[0].startswith("sft 100/1000  loss 0.01  ")


def test_a_phase_without_steps_says_that_it_goes_on_ever_more_seldom(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SIGN_S", 0.02)
    with phase("data", console=Console(file=log)):
        deadline = time.monotonic() + 30
        while log.getvalue().count("so far") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert log.getvalue().splitlines()[0] == "… data"
    assert log.getvalue().count("data: 0 s so far") == 3


def test_a_phase_that_fails_does_not_say_that_it_ended(log: Any) -> None:
    with pytest.raises(ZeroDivisionError), phase("data", console=Console(file=log)):
        raise ZeroDivisionError
    assert log.getvalue() == "… data\n"
