"""Benchmarks with the model of a real server."""

import json
from pathlib import Path
from typing import Any

import pytest

from actors.rollout.groups import FailedEpisode, PlayedGroup
from configs import load_config
from configs.run import Config
from endpoint.endpoint import EndpointError
from env.datasets.reading import read_benchmark
from env.task import Task
from evals import benchmark
from evals.answers import AnswerLog
from evals.benchmark import benchmark_scores, play_on_server
from evals.evaluate import EvaluationError
from tests.actors.rollout.test_chat_policy import completion
from tests.films import benchmarks
from tests.servers.chat_server import ChatServer, chat_server


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    folder = tmp_path / "bench"
    folder.mkdir()
    return list(read_benchmark("V2P-Bench", benchmarks.v2p_bench(folder)).tasks)


def config_of(server: ChatServer, *overrides: str) -> Config:
    words = (f"eval.server.base_url={server.url}", "eval.server.model=m", "eval.server.retries=0")
    return load_config(None, [*words, "episode.prompt_max_frames=4", *overrides])


def play(config: Config, tasks: list[Task], folder: Path) -> AnswerLog:
    log = AnswerLog(folder / "log")
    counts: list[int] = []
    play_on_server(config, tasks, log, folder / "replies", counts.append)
    assert counts == sorted(counts)
    return log


def test_a_server_s_model_looks_with_its_own_calls_and_is_scored(tasks: list[Task], tmp_path: Path) -> None:
    def script(_: str) -> Any:
        said = server.bodies[-1]["messages"]
        turns = sum(m["role"] == "assistant" for m in said)
        looks = [("view_visual_prompt", "{}"), ("crop_video", json.dumps({"start_time": 0, "end_time": 2}))]
        if turns < 2:
            return completion("I look.", looks[turns])
        return completion("It sits. <answer>B</answer>")

    with chat_server() as server:
        server.script = script
        config = config_of(server, "eval.server.concurrency=1")
        log = play(config, tasks[:2], tmp_path)
        assert len(server.bodies) == 6
        play(config, tasks, tmp_path)
        assert len(server.bodies) == 9, "only the question that was left is asked"
    scores = benchmark_scores(tasks, log, ["v2p_bench", "videoseeker_paper"])
    assert scores is not None
    assert (scores.accuracy.questions, scores.asked, scores.films) == (3, 3, 2)
    assert scores.accuracy.mean == pytest.approx(2 / 3)
    assert (scores.calls, scores.rounds, scores.unread, scores.unanswered, scores.failed) == (2.0, 3.0, 0, 0, ())
    assert scores.frames * 3 == 3 * (4 + 1 + 2) - 1, "first look, mark, a crop of two; the AVI begins at 1 s"
    assert {name: share.mean for name, share in scores.groups["duration"].items()} == {
        "short": 1.0,
        "medium": 0.0,
        "long": 1.0,
    }
    assert scores.published["videoseeker_paper"].accuracy == pytest.approx(2 / 3)
    assert scores.published["v2p_bench"].accuracy == 0.0, "that script reads a reply's first character"


def test_published_scripts_read_what_the_model_wrote(tasks: list[Task], tmp_path: Path) -> None:
    with chat_server() as server:
        server.script = lambda _: "B"
        log = play(config_of(server, "episode.tools=[]", "episode.reasoning=false"), tasks, tmp_path)
    scores = benchmark_scores(tasks, log, ["v2p_bench"])
    assert scores is not None
    assert scores.published["v2p_bench"].accuracy == pytest.approx(2 / 3)


def test_a_model_that_answers_directly_has_no_tools_and_is_read(tasks: list[Task], tmp_path: Path) -> None:
    with chat_server() as server:
        server.script = lambda _: "The best option is (B)."
        log = play(config_of(server, "episode.tools=[]", "episode.reasoning=false"), tasks, tmp_path)
    assert all("tools" not in body for body in server.bodies)
    assert all("think" not in str(body["messages"][0]["content"]).lower() for body in server.bodies)
    scores = benchmark_scores(tasks, log)
    assert scores is not None
    assert scores.accuracy.mean == pytest.approx(2 / 3)
    assert (scores.rounds, scores.unread) == (1.0, 0)


def test_a_question_that_cannot_be_played_is_wrong_and_told_and_tried_again(tasks: list[Task], tmp_path: Path) -> None:
    film = Path(tasks[0].video)
    whole = film.read_bytes()
    film.write_bytes(b"no film")
    with chat_server() as server:
        server.script = lambda _: "<answer>B</answer>"
        config = config_of(server, "episode.tools=[]")
        log = play(config, tasks, tmp_path)
        scores = benchmark_scores(tasks, log)
        assert scores is not None
        assert [name for name, _ in scores.failed] == [task.id for task in tasks[:2]]
        assert (scores.accuracy.questions, scores.accuracy.mean) == (3, 0.0)
        film.write_bytes(whole)
        asked = len(server.bodies)
        mended = benchmark_scores(tasks, play(config, tasks, tmp_path))
        assert mended is not None
        assert (len(server.bodies) - asked, mended.failed) == (2, ())


@pytest.mark.parametrize("settings", [["episode.tools=[]"], ["episode.tools=[]", "episode.reasoning=false"]])
def test_a_choice_is_read_the_same_in_every_mode(settings: list[str], tasks: list[Task], tmp_path: Path) -> None:
    with chat_server() as server:
        server.script = lambda _: (
            "I looked at every frame and the man takes a seat. So it must be B, as he sits at last."
        )
        log = play(config_of(server, *settings), tasks, tmp_path)
    scores = benchmark_scores(tasks, log)
    assert scores is not None
    assert (scores.accuracy.mean, scores.unread) == (pytest.approx(2 / 3), 0)


@pytest.mark.parametrize("reply", ["<think>He seems to sit. The answer is B. Wait, let me", "CALL", ""])
def test_a_thought_without_an_end_and_a_call_are_no_direct_answer(
    reply: str, tasks: list[Task], tmp_path: Path
) -> None:
    with chat_server() as server:
        call = completion("", ("answer", json.dumps({"answer": "B"})))
        server.script = lambda _: call if reply == "CALL" else reply
        log = play(config_of(server, "episode.tools=[]", "episode.reasoning=false"), tasks[:1], tmp_path)
    scores = benchmark_scores(tasks[:1], log)
    assert scores is not None
    assert scores.accuracy.mean == 0.0
    assert scores.unanswered + len(scores.failed) == 1


@pytest.mark.parametrize("machinery", [True, False])
def test_what_an_engine_or_judge_failed_is_still_unanswered(
    machinery: bool, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play_all(_: Any, orders: Any, *__: Any) -> Any:
        for order in orders:
            yield PlayedGroup(order, (), (FailedEpisode(order.task.id, "it broke", 0, machinery=machinery),))

    monkeypatch.setattr(benchmark, "play_all", play_all)
    log = AnswerLog(tmp_path / "log")
    dispatcher: Any = None
    if machinery:
        with pytest.raises(EvaluationError, match="3 questions are still to be answered"):
            benchmark.play_on_engines(dispatcher, load_config(None), tasks, log, lambda _: None)
        assert benchmark_scores(tasks, log) is None
    else:
        benchmark.play_on_engines(dispatcher, load_config(None), tasks, log, lambda _: None)
        scores = benchmark_scores(tasks, log)
        assert scores is not None
        assert len(scores.failed) == 3


def test_answers_that_name_no_option_and_none_at_all_are_counted(tasks: list[Task], tmp_path: Path) -> None:
    with chat_server() as server:
        server.script = lambda text: "<answer>A or B</answer>" if "run" in text else "."
        log = play(config_of(server, "episode.tools=[]"), tasks[:1], tmp_path)
    scores = benchmark_scores(tasks, log)
    assert scores is not None
    assert (scores.accuracy.questions, scores.asked, scores.accuracy.mean, scores.unread) == (1, 3, 0.0, 1)


def test_a_server_that_goes_away_ends_it_and_keeps_what_was_answered(tasks: list[Task], tmp_path: Path) -> None:
    with chat_server() as server:
        server.script = lambda _: 401 if len(server.bodies) > 1 else "<answer>B</answer>"
        config = config_of(server, "episode.tools=[]", "eval.server.concurrency=1")
        with pytest.raises(EndpointError):
            play(config, tasks, tmp_path)
    assert len(AnswerLog(tmp_path / "log").unanswered(tasks)) == 2


def test_nothing_answered_has_no_score(tasks: list[Task], tmp_path: Path) -> None:
    assert benchmark_scores(tasks, AnswerLog(tmp_path / "log")) is None
