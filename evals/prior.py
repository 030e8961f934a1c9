"""How far one gets without a look: by always giving the answer that is right most often."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import fmean

from env.judging.rules import judge
from env.task import Task
from synth.motion.colour_names import COLOURS as NAMED_COLOURS
from synth.world.question import TARGETS
from synth.world.world import COLOURS as WORLD_COLOURS

PHRASES = re.compile(
    rf"\b(?:{'|'.join(map(re.escape, [*TARGETS.values(), *{*WORLD_COLOURS, *NAMED_COLOURS}]))}|\d[\d.]*)(?!\w)"
)
"""What differs between two questions of one form: how the target is named, times, and another one's colour."""


def form_of(task: Task) -> str:
    """A question's kind and its words, but for what differs within a form."""
    return f"{task.kind or task.dimension}: {PHRASES.sub('_', task.question)}"


def prior(known: Iterable[Task], asked: Iterable[Task]) -> tuple[float, dict[str, float]]:
    """Accuracy, 0 to 1, over all and by kind of question, of one who gives the commonest right answer that a question's
    form has in `known`; of a form that is not among those, none."""
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for task in known:
        answers[form_of(task)][task.answer] += 1
    commonest = {form: counted.most_common(1)[0][0] for form, counted in answers.items()}
    right: defaultdict[str, list[float]] = defaultdict(list)
    for task in asked:
        right[task.kind or task.dimension].append(judge(task, commonest.get(form_of(task))))
    by_kind = {kind: fmean(of_kind) for kind, of_kind in sorted(right.items())}
    return fmean(score for of_kind in right.values() for score in of_kind), by_kind
