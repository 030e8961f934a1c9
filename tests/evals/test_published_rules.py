"""Published scoring rules on 300 hard replies, and on what each is known to get wrong."""

import json
from collections import Counter
from pathlib import Path

import pytest

from evals.published_rules import PUBLISHED, scored_as

ROWS = [
    json.loads(line) for line in Path(__file__).with_name("choice_replies.jsonl").read_text("utf-8").split("\n") if line
]


@pytest.mark.parametrize(
    ("rule", "reply", "letter"),
    [
        ("video_mme", "The best answer is B", "B"),
        ("video_mme", "Best answer: C", "B"),  # the lead-in without its comma stays, and has a B
        ("video_mme_lmms_eval", "Definitely C.", "D"),
        ("video_mme_lmms_eval", "the answer is e", None),
        ("longvideobench_lmms_eval", "Best answer: E", "E"),
        ("longvideobench_lmms_eval", "it cannot be said", None),
        ("v2p_bench", "(B)", "("),
        ("v2p_bench", "B because", "B"),
        ("v2p_bench", "", None),
        ("v2p_bench_vlmevalkit", "<think>A or B?</think>Answer: C", "C"),
        ("v2p_bench_vlmevalkit", "<think>A or B?", "A"),
        ("v2p_bench_vlmevalkit", "A red car", "A"),
        ("videoseeker_paper", "<think>It is B.</think><answer>c. red</answer>", "C"),
        ("videoseeker_paper", "<answer>(B)</answer>", None),
        ("videoseeker_paper", "B", None),
        ("inst_it_bench", "Answer: D", "D"),
        ("inst_it_bench", "The correct answer: A", "A"),
    ],
)
def test_a_reply_is_read_as_the_script_reads_it(rule: str, reply: str, letter: str | None) -> None:
    assert PUBLISHED[rule].read(reply) == letter


def test_what_cannot_be_read_is_wrong_or_dropped_or_drawn() -> None:
    replies = [("B", "B", "wxyz"), ("?", "B", "wxyz"), ("C", "B", "wxyz")]
    assert scored_as(PUBLISHED["video_mme_lmms_eval"], replies).accuracy == pytest.approx(1 / 3)
    dropped = scored_as(PUBLISHED["video_mme"], replies)
    assert (dropped.accuracy, dropped.counted, dropped.unread) == (0.5, 2, 1)
    assert scored_as(PUBLISHED["longvideobench_lmms_eval"], replies).accuracy == pytest.approx(1.25 / 3)
    assert scored_as(PUBLISHED["video_mme"], [("?", "B", "wx")]).accuracy is None


def test_the_hard_replies_are_whole() -> None:
    assert len(ROWS) == len({row["id"] for row in ROWS}) == 300
    assert all(row["reads_as"] is None or ord(row["reads_as"]) - ord("A") < len(row["options"]) for row in ROWS)
    assert sum(Counter(row["kind"] for row in ROWS).values()) == 300
