"""Answers that people judged: what a judge is compared with."""

from dataclasses import dataclass
from pathlib import Path

from env.task import Task
from storage.files import numbered_rows
from tools.marks.visual_prompt import VisualPrompt

SHIPPED = Path(__file__).with_name("pairs.jsonl")
"""300 pairs: paraphrases, wrong details, parts, numbers, negations, hedges, refusals, other languages, attempts to talk
the judge over, and forms of writing."""
LABELS = (0.0, 0.5, 1.0)


class PairError(ValueError):
    """A file of pairs that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Pair:
    """An answer to an open question, and what people said of it."""

    question: str
    truth: str
    answer: str
    label: float
    """1, 0.5 or 0."""
    kind: str = ""

    @property
    def task(self) -> Task:
        """The question as a task; its mark is never looked at."""
        return Task("pair", "", self.question, self.truth, "", (VisualPrompt("", 0.0, "point"),))


def load_pairs(path: str | Path = SHIPPED) -> list[Pair]:
    """The pairs of a JSONL file of objects with `question`, `truth`, `answer` and `label`, and perhaps `kind`. Raises
    PairError: no such file, no pair in it, or a line that is none."""
    try:
        pairs = [_pair(row, f"{path}:{number}") for number, row in numbered_rows(path)]
    except OSError as error:
        raise PairError(f"{path}: cannot be read ({error.strerror})") from None
    if not pairs:
        raise PairError(f"{path}: holds no pair")
    return pairs


def _pair(row: object, where: str) -> Pair:
    if not isinstance(row, dict):
        raise PairError(f"{where}: is no JSON object")
    question, truth, answer, label = (row.get(name) for name in ("question", "truth", "answer", "label"))
    if not (isinstance(question, str) and isinstance(truth, str) and isinstance(answer, str)):
        raise PairError(f"{where}: a pair has the texts question, truth and answer, and a label")
    if not truth.strip():
        raise PairError(f"{where}: its truth is empty")
    if isinstance(label, bool) or label not in LABELS:
        raise PairError(f"{where}: its label is {label!r}, not 1, 0.5 or 0")
    return Pair(question, truth, answer, float(label), str(row.get("kind", "")))
