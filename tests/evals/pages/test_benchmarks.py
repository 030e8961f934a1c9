"""The page of benchmarks as pictures."""

import dataclasses
import re
from pathlib import Path

import pytest

from env.task import Task
from env.trajectory import Trajectory
from evals.answers import AnswerLog
from evals.benchmark import BenchmarkScores, benchmark_scores
from evals.pages.benchmarks import write_benchmarks
from evals.pages.curves import Point, scatter_chart
from tests.films.sample_episode import make_episode


def scored(folder: Path, episode: Trajectory, right: list[float], calls_s: float = 0.5) -> BenchmarkScores:
    """The scores of as many questions, of two dimensions."""
    tasks, log = [], AnswerLog(folder)
    for i, accuracy in enumerate(right):
        task = Task(f"q{i}", f"{i}.mp4", "?", "5", "OA" if i % 2 else "HA", (), labels={"duration": "short"})
        tasks.append(task)
        rewards = dataclasses.replace(episode.rewards, accuracy=accuracy)
        calls = tuple(dataclasses.replace(call, seconds=calls_s) for call in episode.calls)
        log.add(
            task, dataclasses.replace(episode, task_id=task.id, rewards=rewards, calls=calls, answer="5", judge_s=1.5)
        )
    found = benchmark_scores(tasks, log)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Trajectory:
    return make_episode(tmp_path_factory.mktemp("episode"))


def test_a_page_has_every_policy_what_others_published_and_wrong_answers(tmp_path: Path, episode: Trajectory) -> None:
    results = {
        "V2P-Bench": {
            ("mine", "tools"): scored(tmp_path / "a", episode, [1, 1, 0, 1]),
            ("<gpt>", "direct"): scored(tmp_path / "b", episode, [0, 1, 0, 0]),
        }
    }
    page = tmp_path / "page.html"
    wrong = dataclasses.replace(episode, question="Why does it stop?", dimension="CR")
    write_benchmarks(page, results, {"V2P-Bench": [wrong]})
    text = page.read_text()
    assert "<b>75.0</b> %" in text
    assert "&lt;gpt&gt;, direct" in text
    assert "<gpt>" not in text
    assert "GPT-4o" in text and "65.4" in text  # noqa: PT018
    assert "By dimension" in text
    assert "By duration" not in text, "they are all short"
    assert "Causal relationship" in text and "Why does it stop?" in text  # noqa: PT018
    assert len(re.findall(r"<svg [^>]*accuracy by", text)) == 3
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text), "a page is one file"


def test_a_page_without_an_answer_says_so(tmp_path: Path) -> None:
    write_benchmarks(tmp_path / "page.html", {}, {})
    assert "No question was answered." in (tmp_path / "page.html").read_text()


def test_where_the_time_goes_is_told(tmp_path: Path, episode: Trajectory) -> None:
    scores = scored(tmp_path / "a", episode, [1.0], calls_s=0.25)
    assert scores.tool_seconds == pytest.approx(0.25 * len(episode.calls))
    assert scores.judge_seconds == 1.5


def test_points_lie_where_their_figures_are() -> None:
    svg = scatter_chart("name", [Point("a", 0.0, 0.0, 0.0, 0.1, 1), Point("b & c", 4.0, 1.0, 0.5, 1.0, 2)], "calls")
    (x0, y0), (x1, y1) = re.findall(r'<circle [^>]*cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert (float(x0), float(y0)) == (40.0, 166.0)
    assert (float(x1), float(y1)) == (322.0, 10.0)
    assert 'aria-label="name: a 0 % at 0; b &amp; c 100 % at 4."' in svg
    alone = scatter_chart("name", [Point("a", 0.0, 0.5, 0.4, 0.6, 1)], "calls")
    assert "nan" not in alone
