"""What `videoseeker score` prints of saved responses."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from configs import Config
from configs.rules import check
from env.judging.of_config import judge_of
from evals.published_rules import PUBLISHED
from evals.responses import ResponseScores, rules_named, score_responses
from evals.stretches import RIGHT
from recipes.judging import require_judge


def print_scores(
    config: Config, path: str, tasks: str | None, published: Sequence[str], console: Console
) -> ResponseScores:
    """Score a file of responses and print it, with what the `published` scripts, or `all` of them, would say. The
    config's judge is asked about open answers that the rules are not certain of.

    Raises:
        ResponseError: the file cannot be used, or there is no such script.
        TaskError: the task file cannot be used.
        ConfigError, EndpointError, JudgeError: the judge cannot be asked.
    """
    check(config, "judge")
    require_judge(config)
    scores = score_responses(path, tasks, rules_named(published), judge=judge_of(config))
    low, high = (100 * end for end in scores.by_film)
    console.print(
        f"accuracy {100 * scores.accuracy.mean:.1f} % of {scores.accuracy.questions:,} questions; 95 % interval "
        f"{100 * scores.accuracy.low:.1f} to {100 * scores.accuracy.high:.1f}, with films resampled ({scores.films:,}) "
        f"{low:.1f} to {high:.1f}",
        soft_wrap=True,
    )
    if scores.judged:
        console.print(f"open answers that the judge decided: {scores.judged:,}", soft_wrap=True)
    counted = {
        "choices whose reply names no option, or several": scores.unread,
        "open answers that nobody was certain of": scores.undecided,
        "questions without a response": scores.unanswered,
    }
    for what, count in counted.items():
        if count:
            console.print(f"{what}: {count:,}, counted as wrong", soft_wrap=True)
    if (stretches := scores.stretches) is not None:
        reached = ", ".join(f"{at} in {100 * share:.1f} %" for at, share in stretches.reached.items())
        console.print(
            f"stretches: temporal IoU {100 * stretches.iou:.1f} % of {stretches.questions:,} questions, at least "
            f"{reached}; from {RIGHT} on they count as right; told none or several: {stretches.unread:,}",
            soft_wrap=True,
        )
    for key, shares in scores.groups.items():
        table = Table(key, "questions", "accuracy", "95 % interval")
        for value, share in shares.items():
            interval = f"{100 * share.low:.1f} to {100 * share.high:.1f}"
            table.add_row(value, f"{share.questions:,}", f"{100 * share.mean:.1f} %", interval)
        console.print(table)
    if scores.published:
        table = Table("would be scored as", "accuracy", "counted", "unread", "script")
        table.columns[0].no_wrap, table.columns[-1].overflow = True, "fold"
        for name, score in scores.published.items():
            accuracy = "-" if score.accuracy is None else f"{100 * score.accuracy:.1f} %"
            table.add_row(name, accuracy, f"{score.counted:,}", f"{score.unread:,}", PUBLISHED[name].source)
        console.print(table)
    return scores
