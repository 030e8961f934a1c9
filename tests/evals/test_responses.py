"""Scores of saved responses: every question counts, films hang together, bad rows are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from env.judging.judge import JudgeError, NoVerdictError
from env.task import Task, save_tasks
from evals import responses
from evals.responses import ResponseError, score_responses
from evals.tally import share_of
from tools.marks.visual_prompt import VisualPrompt

OPTIONS = ["a red car", "a blue van", "a green bus"]


def rows_file(folder: Path, rows: list[Any]) -> Path:
    file = folder / "responses.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def choice(number: int, response: str, answer: str = "B", **more: Any) -> dict[str, Any]:
    return {"id": number, "response": response, "answer": answer, "options": OPTIONS, "video": f"{number % 3}", **more}


def test_choices_and_open_answers_are_scored_and_none_is_left_out(tmp_path: Path) -> None:
    rows = [
        choice(0, "B", dimension="OA", duration=100),
        choice(1, "It is the blue van.", dimension="OA", duration=500),
        choice(2, "<think>B?</think>A", dimension="HA", duration=3600),
        choice(3, "I cannot say.", answer="a blue van", dimension="HA"),
        {"id": "open", "response": "3 times", "answer": "thrice", "video": "0"},
        {"id": "number", "response": "about 12 seconds", "answer": "11", "tolerance": 1.5, "video": "1"},
    ]
    scores = score_responses(rows_file(tmp_path, rows))
    assert (scores.accuracy.mean, scores.accuracy.questions, scores.films) == (0.5, 6, 3)
    assert (scores.unread, scores.undecided, scores.unanswered) == (1, 1, 0)
    assert {value: share.mean for value, share in scores.groups["dimension"].items()} == {"OA": 1.0, "HA": 0.0}
    assert {value: share.mean for value, share in scores.groups["duration"].items()} == {
        "short": 1.0,
        "medium": 1.0,
        "long": 0.0,
    }


def test_questions_of_a_task_file_that_nobody_answered_count_as_wrong(tmp_path: Path) -> None:
    mark = (VisualPrompt("m.png", 0.0),)
    tasks = [Task(f"t{i}", f"v{i}.mp4", "?", "red", "OA", mark, kind="colour") for i in range(4)]
    save_tasks(tmp_path / "test.jsonl", tasks)
    file = rows_file(tmp_path, [{"id": f"t{i}", "response": "Red."} for i in range(3)])
    scores = score_responses(file, tmp_path / "test.jsonl")
    assert (scores.accuracy.mean, scores.unanswered) == (0.75, 1)
    assert scores.groups["kind"]["colour"].questions == 4
    (tmp_path / "other.jsonl").write_text(json.dumps({"id": "t9", "response": "red"}))
    with pytest.raises(ResponseError, match=r"other\.jsonl:1: its id 't9' is of no question of the task file"):
        score_responses(tmp_path / "other.jsonl", tmp_path / "test.jsonl")


class Reads:
    """A judge that knows which answers say the same."""

    def __init__(self, verdicts: dict[str, float | JudgeError]) -> None:
        self.verdicts, self.asked, self.closed = verdicts, list[tuple[str, str, str]](), 0

    async def verdict(self, task: Task, answer: str | None) -> float:
        self.asked.append((task.question, task.answer, str(answer)))
        found = self.verdicts[str(answer)]
        if isinstance(found, JudgeError):
            raise found
        return found

    async def close(self) -> None:
        self.closed += 1


def opened(number: int, response: str, answer: str = "He puts the cup down.", **more: Any) -> dict[str, Any]:
    return {"id": number, "response": response, "answer": answer, "question": "What does he do?", **more}


def test_a_judge_decides_what_the_rules_are_not_certain_of_and_nothing_else(tmp_path: Path) -> None:
    rows = [
        opened(0, "He puts a cup down."),
        opened(1, "<think>Hm.</think> The man sets it on the table.", kind="act"),
        opened(2, "He lifts the cup.", kind="act"),
        opened(3, "<answer>He holds it over the table.</answer>"),
        opened(4, "Who knows."),
        choice(5, "Nobody can say."),
    ]
    judge = Reads(
        {
            "The man sets it on the table.": 1.0,
            "He lifts the cup.": 0.0,
            "He holds it over the table.": 0.5,
            "Who knows.": NoVerdictError("no usable verdict"),
        }
    )
    scores = score_responses(rows_file(tmp_path, rows), judge=judge)
    assert judge.asked[0] == ("What does he do?", "He puts the cup down.", "The man sets it on the table.")
    assert sorted(answer for _, _, answer in judge.asked) == sorted(judge.verdicts)
    assert (scores.judged, scores.undecided, scores.unread) == (3, 1, 1)
    assert scores.accuracy.mean == pytest.approx(2.5 / 6)
    assert scores.accuracy.questions == 6
    assert scores.groups["kind"]["act"].mean == 0.5
    assert judge.closed == 1


def test_a_judge_that_is_away_is_said_and_nobody_is_scored(tmp_path: Path) -> None:
    file = rows_file(tmp_path, [opened(0, "The man sets it down.")])
    with pytest.raises(JudgeError, match="cannot be reached"):
        score_responses(file, judge=Reads({"The man sets it down.": JudgeError("judge: cannot be reached")}))


def test_a_judge_is_not_asked_about_an_answer_to_nothing(tmp_path: Path) -> None:
    file = rows_file(tmp_path, [{"id": 0, "response": "a red vehicle", "answer": "a red car"}])
    with pytest.raises(ResponseError, match="the row of id '0' has no 'question', which the judge needs"):
        score_responses(file, judge=Reads({}))
    assert score_responses(file).undecided == 1


def test_an_open_answer_is_read_without_its_thoughts(tmp_path: Path) -> None:
    rows = [
        opened(0, "<think>It is blue, or red.</think><answer>red</answer>", "red"),
        opened(1, "<think>red</think>\nBlue.", "red"),
        opened(2, "Thinking...</think> Red", "red"),
    ]
    scores = score_responses(rows_file(tmp_path, rows))
    assert (scores.accuracy.mean, scores.undecided) == (pytest.approx(2 / 3), 1)


def test_an_answer_that_is_a_stretch_is_scored_by_its_temporal_iou(tmp_path: Path) -> None:
    rows = [
        {"id": 0, "response": "from 10 to 20 s", "answer": [10, 20], "video": "a"},
        {"id": 1, "response": "<think>0 to 5</think>12 to 20", "answer": [10, 20], "video": "a"},
        {"id": 2, "response": "at the end", "answer": [10, 20], "video": "b"},
        {"id": 3, "response": "red", "answer": "red", "video": "b"},
    ]
    scores = score_responses(rows_file(tmp_path, rows))
    assert scores.stretches is not None
    assert (scores.stretches.questions, scores.stretches.iou) == (3, pytest.approx(0.6))
    assert scores.accuracy.mean == 0.75, "an IoU of a half is right"
    assert scores.stretches.unread == 1
    for odd in ([20, 10], [5, 5], ["1", "2"], [[1, 2], [3, 4]]):
        with pytest.raises(ResponseError, match="its answer is no stretch: give two numbers"):
            score_responses(rows_file(tmp_path, [{"id": 0, "response": "1 to 2", "answer": odd}]))
    save_tasks(tmp_path / "asked.jsonl", [Task("0", "v.mp4", "When?", "[10, 20]", "", ())])
    asked = score_responses(
        rows_file(tmp_path, [{"id": 0, "response": "From 10 s to 20 s."}]), tmp_path / "asked.jsonl"
    )
    assert asked.stretches is not None
    assert asked.accuracy.mean == 1.0


@pytest.mark.process
def test_blocks_in_other_processes_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [choice(i, "B" if i % 4 else "A", dimension=f"D{i % 2}") for i in range(90)]
    file = rows_file(tmp_path, rows)
    alone = score_responses(file, published=["video_mme", "v2p_bench"])
    monkeypatch.setattr(responses, "BLOCK", 20)
    assert score_responses(file, published=["video_mme", "v2p_bench"]) == alone
    rows += [opened(i, "The man sets it down." if i % 2 else "He sits.") for i in range(90, 140)]
    judge = Reads({"The man sets it down.": 1.0, "He sits.": 0.0})
    scores = score_responses(rows_file(tmp_path, rows), judge=judge)
    assert (scores.judged, scores.accuracy.mean) == (50, pytest.approx((67 + 25) / 140))
    assert alone.published["video_mme"].accuracy == pytest.approx(67 / 90)


def test_questions_about_one_film_hang_together(tmp_path: Path) -> None:
    rows = [{**choice(i, "B" if i % 10 < 5 else "A"), "video": f"{i % 10}"} for i in range(200)]
    scores = score_responses(rows_file(tmp_path, rows))
    low, high = scores.by_film
    assert high - low > 2 * (scores.accuracy.high - scores.accuracy.low)


def test_the_wilson_interval_is_the_textbook_s() -> None:
    share = share_of(10, 9)
    assert (share.mean, share.questions) == (0.9, 10)
    assert (share.low, share.high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))
    everything, nothing = share_of(5, 5), share_of(5, 0)
    assert (everything.low, everything.high) == (pytest.approx(0.5655, abs=1e-4), 1.0)
    assert (nothing.low, nothing.high) == (pytest.approx(0.0), pytest.approx(0.4345, abs=1e-4))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([1], ":2: has no text 'response'"),
        ({"id": 1, "response": None, "answer": "B"}, ":2: has no text 'response'"),
        ({"response": "B", "answer": "B"}, ":2: has no 'id'"),
        ({"id": 1, "response": "B"}, ":2: has no text 'answer'"),
        ({"id": 1, "response": "B", "answer": "D", "options": OPTIONS}, ":2: its answer 'D' is none of its options"),
        ({"id": 0, "response": "B", "answer": "B", "options": OPTIONS}, ":2: a second response to '0'"),
        ({"id": 1, "response": "2", "answer": "two", "tolerance": 1}, ":2: task 1: has a tolerance, but"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: Any, sentence: str) -> None:
    with pytest.raises(ResponseError) as raised:
        score_responses(rows_file(tmp_path, [choice(0, "B"), row]))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResponseError, match="cannot be read"):
        score_responses(tmp_path / "none.jsonl")
    with pytest.raises(ResponseError, match="holds no response"):
        score_responses(rows_file(tmp_path, []))
