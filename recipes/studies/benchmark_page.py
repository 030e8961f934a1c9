"""The page of published benchmarks: what each policy scores, beside what others published. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from evals.benchmark import BenchmarkScores, Results
from evals.published_results import PUBLISHED_RESULTS
from evals.published_rules import PUBLISHED
from evals.tally import GROUPS, Share
from recipes.studies.ablations.tables import MISSING, percent, table


def page(results: Results, published: Sequence[str] = ()) -> str:
    """The page, in Markdown."""
    lines = ["# Benchmarks", ""]
    if not results:
        lines += ["No question was answered.", ""]
    for name, scores in results.items():
        lines += [f"## {name}", "", *_summary(name, scores), "", *_efforts(scores), ""]
        for key in GROUPS:
            lines += _by_group(key, scores)
        lines += [*_published(scores, published), *_failures(scores)]
    return "\n".join(lines).rstrip() + "\n"


def _summary(name: str, scores: Mapping[tuple[str, str], BenchmarkScores]) -> Iterator[str]:
    """Accuracy of each policy, and what others published."""
    rows: list[Sequence[str]] = []
    for (policy, mode), one in scores.items():
        low, high = one.by_film
        rows.append(
            (
                *(policy, mode, percent(one.accuracy.mean), f"{percent(low)} to {percent(high)}"),
                *(f"{one.accuracy.questions:,} of {one.asked:,}", str(one.films)),
                *(str(one.unread), str(one.unanswered), str(len(one.failed))),
            )
        )
    for model, figure in PUBLISHED_RESULTS.get(name, {}).items():
        rows.append((model, "published", f"{figure:.1f}", *[MISSING] * 6))
    interval = "95 %, films resampled"
    head = ("policy", "mode", "accuracy", interval, "questions", "films", "unread", "no answer", "failed")
    yield from table(head, rows)
    yield ""
    yield (
        "Every question that was tried is in the denominator: `unread` are choices whose answer names no option, or "
        "several; `no answer` are episodes that ended without one; `failed` could not be played. All count as wrong."
    )


def _efforts(scores: Mapping[tuple[str, str], BenchmarkScores]) -> list[str]:
    head = ("policy", "mode", "tool calls", "turns", "frames", "tokens", "seconds", "of them tools", "judge")
    rows = []
    for (policy, mode), one in scores.items():
        figures = (
            *(f"{one.calls:.2f}", f"{one.rounds:.2f}", f"{one.frames:.1f}", f"{one.tokens:,.0f}"),
            *(f"{one.seconds:.1f}", f"{one.tool_seconds:.1f}", f"{one.judge_seconds:.1f}"),
        )
        # What was saved elsewhere does not tell what it took.
        rows.append((policy, mode, *(figures if one.frames else [MISSING] * len(figures))))
    return table(head, rows)


def _by_group(key: str, scores: Mapping[tuple[str, str], BenchmarkScores]) -> list[str]:
    values = sorted({value for one in scores.values() for value in one.groups.get(key, {})})
    if not values:
        return []
    head = (key.replace("_", " "), *(f"{policy}, {mode}" for policy, mode in scores))
    rows = [(value, *(_share(one.groups.get(key, {}).get(value)) for one in scores.values())) for value in values]
    return [*table(head, rows), ""]


def _share(share: Share | None) -> str:
    if share is None:
        return MISSING
    return f"{percent(share.mean)} ({percent(share.low)} to {percent(share.high)}; {share.questions})"


def _published(scores: Mapping[tuple[str, str], BenchmarkScores], rules: Sequence[str]) -> list[str]:
    if not rules:
        return []
    head = ("would be scored as", *(f"{policy}, {mode}" for policy, mode in scores), "script")
    rows = []
    for rule in rules:
        found = [one.published.get(rule) for one in scores.values()]
        cells = [MISSING if one is None else f"{percent(one.accuracy)} of {one.counted}" for one in found]
        rows.append((rule, *cells, PUBLISHED[rule].source))
    return [*table(head, rows), ""]


def _failures(scores: Mapping[tuple[str, str], BenchmarkScores]) -> Iterator[str]:
    for (policy, mode), one in scores.items():
        if one.failed:
            question, why = one.failed[0]
            yield f"{policy}, {mode}: {len(one.failed)} could not be played; the first, {question}: {why}"
            yield ""
