"""What the tasks of the procedural world are made of: its kinds of question, and what each needs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from configs.world import QUESTION_KINDS, SEEKING_KINDS
from env.task import Task


def datasheet(splits: Mapping[str, Sequence[Task]]) -> str:
    """The folder's README: each kind's share of each split, and the fewest tool calls that its questions need.

    Args:
        splits: tasks by name of the split; at least one task each.
    """
    counts = {name: Counter(task.kind for task in tasks) for name, tasks in splits.items()}
    every = [task for tasks in splits.values() for task in tasks]
    lines = [
        "# Questions about videos of a procedural world",
        "",
        "; ".join(
            f"{name}: {len(tasks):,} questions about {len({task.video for task in tasks}):,} videos, "
            f"{_percent(sum(task.kind in SEEKING_KINDS for task in tasks), len(tasks))} of them name what happens "
            "instead of when"
            for name, tasks in splits.items()
        )
        + ".",
        "",
        f"| kind | tells when to look | fewest calls | {' | '.join(f'share of {name}' for name in splits)} |",
        f"|---|---|---|{'---|' * len(splits)}",
    ]
    for kind in QUESTION_KINDS:
        needed = sorted({fewest_calls(task) for task in every if task.kind == kind})
        if needed:
            shares = [_percent(counts[name][kind], len(tasks)) for name, tasks in splits.items()]
            told = "no" if kind in SEEKING_KINDS else "yes"
            cells = [kind.replace("_", " "), told, " or ".join(map(str, needed)), *shares]
            lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Fewest calls: one for the mark, and one for each stretch that has to be seen, by one who knows where it is; "
        "for how often something vanishes one more, as the coarse look that finds it does not show it.",
    ]
    return "\n".join(lines) + "\n"


def fewest_calls(task: Task) -> int:
    """The fewest calls that the answer needs: the mark, each stretch of the evidence, and a closer look inside of one
    where a coarse one does not show what happens."""
    closer = task.kind in SEEKING_KINDS and task.facts.get("asks") == "blink"
    return 1 + len(task.evidence) + closer


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
