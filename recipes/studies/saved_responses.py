"""What `videoseeker score` prints of saved responses."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from evals.published_rules import PUBLISHED
from evals.responses import ResponseScores, rules_named, score_responses


def print_scores(path: str, tasks: str | None, published: Sequence[str], console: Console) -> ResponseScores:
    """Score a file of responses and print it, with what the `published` scripts, or `all` of them, would say.

    Raises:
        ResponseError: the file cannot be used, or there is no such script.
        TaskError: the task file cannot be used.
    """
    scores = score_responses(path, tasks, rules_named(published))
    low, high = (100 * end for end in scores.by_film)
    console.print(
        f"accuracy {100 * scores.accuracy.mean:.1f} % of {scores.accuracy.questions:,} questions; 95 % interval "
        f"{100 * scores.accuracy.low:.1f} to {100 * scores.accuracy.high:.1f}, with films resampled ({scores.films:,}) "
        f"{low:.1f} to {high:.1f}",
        soft_wrap=True,
    )
    counted = {
        "choices whose reply names no option, or several": scores.unread,
        "open answers that the rules are not certain of": scores.undecided,
        "questions without a response": scores.unanswered,
    }
    for what, count in counted.items():
        if count:
            console.print(f"{what}: {count:,}, counted as wrong", soft_wrap=True)
    for key, shares in scores.groups.items():
        table = Table(key, "questions", "accuracy", "95 % interval")
        for value, share in shares.items():
            interval = f"{100 * share.low:.1f} to {100 * share.high:.1f}"
            table.add_row(value, f"{share.questions:,}", f"{100 * share.mean:.1f} %", interval)
        console.print(table)
    if scores.published:
        table = Table("would be scored as", "accuracy", "counted", "unread", "script")
        for name, score in scores.published.items():
            accuracy = "-" if score.accuracy is None else f"{100 * score.accuracy:.1f} %"
            table.add_row(name, accuracy, f"{score.counted:,}", f"{score.unread:,}", PUBLISHED[name].source)
        console.print(table)
    return scores
