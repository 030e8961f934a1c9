"""What published scripts would say of a reply to a multiple choice question. Pure.

For comparing with published figures only: some leave out of the denominator what they cannot read, or take the first
capital letter of a sentence for the answer. Our own scores are `evals.score`'s.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

LEAD_INS = ("The best answer is", "The correct answer is", "The answer is", "The answer")
"""What all scripts that read the first letter take out first, in this order."""
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?<\\?/think>", re.DOTALL)


@dataclass(frozen=True)
class PublishedRule:
    """How one script reads a reply, and what it does with one that it cannot read."""

    source: str
    """Where the script is published."""
    reads: Literal["first letter", "first character", "answer tag"]
    """`first letter` takes the first of `letters` anywhere in the reply, after `lead_ins` were taken out of it."""
    unread: Literal["wrong", "dropped", "random"]
    """`dropped` leaves the question out of the denominator; `random` draws an option, of which the expectation is
    told here."""
    letters: str = "ABCD"
    lead_ins: tuple[str, ...] = LEAD_INS
    drops_thoughts: bool = False

    def read(self, reply: str) -> str | None:
        """The letter that the script takes for the answer; None for what it cannot read."""
        if self.reads == "first character":
            return reply[:1] or None
        if self.reads == "answer tag":
            tag = _ANSWER.search(reply)
            inner = tag[1].strip() if tag else ""
            return inner[0].upper() if re.match("[A-Za-z]", inner) else None
        text = (_THOUGHT.sub("", reply) if self.drops_thoughts else reply).strip()
        for lead_in in self.lead_ins:
            text = text.replace(lead_in, "")
        return next((character for character in text if character in self.letters), None)

    def score(self, letter: str | None, right: str, options: int) -> float | None:
        """What the question adds to the correct ones, 0 to 1; None where it is left out.

        Args:
            letter: what was read of the reply.
            right: the letter of the right option.
            options: how many there are.
        """
        if letter is not None:
            return float(letter == right)
        return {"wrong": 0.0, "dropped": None, "random": 1.0 / options}[self.unread]


# Two scripts lack a comma between two lead-ins, which then stand for one that nobody writes; so they do here.
_VIDEO_MME = (*LEAD_INS, "The best option isThe correct option is", "Best answer:Best option:")
_COMMON = (*LEAD_INS, "The best option is", "The correct option is", "Best answer:", "Best option:")
_INST_IT = (
    *(*LEAD_INS, "The best option isThe correct option is", "Best answer:Best option:"),
    *("Answer", "Answer:", "answer:", "answer", "Option:", "The correct answer", "The correct option"),
)
PUBLISHED: Mapping[str, PublishedRule] = {
    "video_mme": PublishedRule(
        "Video-MME, evaluation/eval_your_results.py", "first letter", "dropped", lead_ins=_VIDEO_MME
    ),
    "video_mme_lmms_eval": PublishedRule(
        "lmms-eval, tasks/videomme/utils.py", "first letter", "wrong", lead_ins=_VIDEO_MME
    ),
    "longvideobench_lmms_eval": PublishedRule(
        "lmms-eval, tasks/longvideobench/utils.py", "first letter", "random", letters="ABCDE", lead_ins=_COMMON
    ),
    "v2p_bench": PublishedRule("V2P-Bench, eval/eval.py", "first character", "wrong"),
    "v2p_bench_vlmevalkit": PublishedRule(
        "VLMEvalKit, V2PBench",
        "first letter",
        "wrong",
        lead_ins=(*_COMMON, "Answer:", "Option:"),
        drops_thoughts=True,
    ),
    "videoseeker_paper": PublishedRule(
        "the paper's released eval/calu_metrics, with thoughts or tools", "answer tag", "dropped"
    ),
    "inst_it_bench": PublishedRule("Inst-It-Bench, evaluate.py", "first letter", "dropped", lead_ins=_INST_IT),
}
"""By name, as `--also-scored-as` takes it."""


@dataclass(frozen=True)
class PublishedScore:
    """What a script would print."""

    accuracy: float | None
    """0 to 1; None where it counts nothing."""
    counted: int
    """Questions in its denominator."""
    unread: int
    """Replies that it could not read."""


def scored_as(rule: PublishedRule, replies: Iterable[tuple[str, str, Sequence[str]]]) -> PublishedScore:
    """What a script would say of replies, each with the right letter and the options; looked at once, not kept."""
    right, counted, unread = 0.0, 0, 0
    for reply, letter, options in replies:
        read = rule.read(reply)
        unread += read is None
        score = rule.score(read, letter, len(options))
        if score is not None:
            right, counted = right + score, counted + 1
    return PublishedScore(right / counted if counted else None, counted, unread)
