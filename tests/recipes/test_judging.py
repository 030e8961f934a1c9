"""A run's judge: asked once before anything starts, looked at on the way, its cost in the metrics."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs import Config
from configs.endpoint import EndpointConfig
from configs.judge import JudgeConfig
from env.judging.judge import JudgeError
from env.judging.pairs import load_pairs
from recipes.judging import Canary, require_judge
from tests.servers.chat_server import ChatServer, chat_server

LABELS = {json.dumps(" ".join(pair.answer.split()), ensure_ascii=False): pair for pair in load_pairs()}


def as_people(text: str) -> str:
    """What people said of the shipped pairs."""
    if "Right answer" in text:
        return json.dumps({"other_answer": "Something else."})
    _, first, _, answer = (line.split(": ", 1)[1] for line in text.splitlines())
    pair = LABELS[answer]
    place = "1" if json.loads(first) == " ".join(pair.truth.split()) else "2"
    says = place if pair.label else "neither"
    return json.dumps({"reason": "", "agrees_with": says, "wholly": pair.label == 1.0})


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as made:
        made.script = as_people
        yield made


@pytest.fixture
def config(server: ChatServer, tmp_path: Path) -> Config:
    model = EndpointConfig(
        base_url=server.url, model="m", retries=0, timeout_s=20, busy_wait_s=0.0, usd_per_million_input=1.0
    )
    judge = JudgeConfig(by="model", model=model, canary_every=2, canary_pairs=10)
    return Config(runs_dir=str(tmp_path), judge=judge)


@pytest.fixture
def canary(config: Config) -> Iterator[Canary]:
    made = Canary(config)
    yield made
    made.close()


def looked(canary: Canary, steps: Iterator[int], until: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The figures of the first of the steps whose figures are so."""
    deadline = time.monotonic() + 60
    for step in steps:
        figures = canary.figures(step)
        if until(figures):
            return figures
        assert time.monotonic() < deadline
        time.sleep(0.05)
    raise AssertionError("no steps are left")


def test_a_judge_that_answers_is_enough(config: Config, server: ChatServer) -> None:
    require_judge(config)
    assert len(server.bodies) == 3


def test_the_rules_need_nobody(config: Config, server: ChatServer) -> None:
    rules = Config(runs_dir=config.runs_dir)
    require_judge(rules)
    assert Canary(rules).figures(1) == {}
    assert server.bodies == []


@pytest.mark.parametrize("reply", [500, 401, "hello"])
def test_one_that_does_not_is_said_before_anything_starts(config: Config, server: ChatServer, reply: int | str) -> None:
    server.script = lambda _: reply
    with pytest.raises(JudgeError, match=r"judge\.model: m cannot judge \(") as raised:
        require_judge(config)
    assert "\n" not in str(raised.value)


def test_the_canary_s_figures_come_with_a_later_step_and_are_of_no_kept_verdict(
    canary: Canary, server: ChatServer
) -> None:
    steps = iter(range(1, 10_000))
    first = looked(canary, steps, lambda figures: "judge_agreed" in figures)
    assert (first["judge_agreed"], first["judge_too_high"]) == (1.0, 0.0)
    asked = len(server.bodies)
    looked(canary, steps, lambda figures: "judge_agreed" in figures)
    assert len(server.bodies) >= 2 * asked - 1


def test_a_judge_that_turns_lenient_is_said(
    canary: Canary, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    steps = iter(range(1, 10_000))
    looked(canary, steps, lambda figures: "judge_agreed" in figures)

    def lenient(text: str) -> str:
        if "Right answer" in text:
            return as_people(text)
        _, first, _, answer = (line.split(": ", 1)[1] for line in text.splitlines())
        is_right = json.loads(first) == " ".join(LABELS[answer].truth.split())
        return json.dumps({"reason": "", "agrees_with": "1" if is_right else "2", "wholly": True})

    server.script = lenient
    with caplog.at_level(logging.WARNING):
        worse = looked(canary, steps, lambda figures: figures.get("judge_agreed", 1.0) < 1.0)
    assert worse["judge_too_high"] > 0.3
    assert "agrees with people on" in caplog.text


def test_a_canary_that_cannot_be_asked_is_a_warning_and_no_figure(
    canary: Canary, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = lambda _: 500
    with caplog.at_level(logging.WARNING):
        looked(canary, iter(range(1, 10_000)), lambda _: "its canary could not be asked" in caplog.text)
    assert "judge_agreed" not in canary.figures(10_001)


def test_what_the_judge_costs_is_in_the_metrics(config: Config, canary: Canary) -> None:
    require_judge(config)
    figures = canary.figures(2)
    assert figures["judge_paid"] == 3.0
    assert figures["judge_usd"] == pytest.approx(3 * 100 / 1e6)
