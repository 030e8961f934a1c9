"""What `videoseeker compare` prints."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from configs.episode import EpisodeConfig
from env.task import Task, load_tasks, save_tasks
from env.trajectory import save_trajectories
from evals.answers import AnswerLog
from evals.benchmark import read_freely
from recipes.studies.compared import print_comparison
from tests.films.sample_episode import make_episode


def test_flipped_questions_stand_with_both_answers(media: Path, tmp_path: Path) -> None:
    right, wrong = make_episode(media), dataclasses.replace(make_episode(media, accuracy=0.0), answer="blue")
    for file, episodes in {"a": [right, wrong, wrong], "b": [wrong, right, right]}.items():
        named = [dataclasses.replace(episode, task_id=f"t{i}") for i, episode in enumerate(episodes)]
        save_trajectories(tmp_path / file, named)
    printed = io.StringIO()
    shown = tmp_path / "page.html"
    found = print_comparison(tmp_path / "a", tmp_path / "b", Console(file=printed, width=200), shown)
    assert (found.gained, found.lost) == (("t1", "t2"), ("t0",))
    assert "3 questions: 33.3 % -> 66.7 %, +33.3 points" in printed.getvalue()
    assert "What colour does the marked <shape> have at the end? (t0)" in printed.getvalue()
    assert "blue" in printed.getvalue()
    assert shown.read_text().count("<template data-key=") == 6


def test_answers_to_a_benchmark_are_compared_as_its_page_scores_them(media: Path, tmp_path: Path) -> None:
    options = {"form": "choice", "options": ("red", "blue"), "answer": "A"}
    tasks = [
        Task(f"t{i}", str(media / "video.mp4"), "Which?", dimension="OA", visual_prompts=(), **options)  # type: ignore[arg-type]
        for i in range(3)
    ]
    save_tasks(tmp_path / "bench" / "tasks.jsonl", tasks)
    tasks = load_tasks(tmp_path / "bench" / "tasks.jsonl")
    said = {"one": ("B", "B"), "other": ("It looks so to me. So the answer must be A, I think, as it is red.", "B")}
    for policy, answers in said.items():
        log = AnswerLog(tmp_path / "bench" / policy / "direct")
        for task, answer in zip(tasks[:2], answers, strict=True):
            episode = dataclasses.replace(make_episode(media, accuracy=0.0), task_id=task.id, answer=answer)
            log.add(task, read_freely(episode, task, EpisodeConfig()))
    AnswerLog(tmp_path / "bench" / "one" / "direct").fail(tasks[2], "the film is torn")
    right = dataclasses.replace(make_episode(media), task_id="t2", answer="A")
    AnswerLog(tmp_path / "bench" / "other" / "direct").add(tasks[2], right)
    first, second = (tmp_path / "bench" / policy / "direct" for policy in said)
    printed = io.StringIO()
    found = print_comparison(first, second, Console(file=printed, width=200), tmp_path / "page.html")
    assert (found.questions, found.first, found.gained) == (3, 0.0, ("t0", "t2")), "what could not be played is wrong"
    assert found.second == pytest.approx(2 / 3)
    assert (tmp_path / "page.html").read_text().count("<template data-key=") == 3
