"""How far a judge says of labelled answers what people said of them: `videoseeker judge calibrate`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from configs import Config
from configs.rules import check
from endpoint.endpoint import AnswerError
from env.judging.model_judge import ModelJudge
from env.judging.of_config import judge_of
from env.judging.pairs import SHIPPED, Pair, load_pairs
from env.judging.rules import certain, judge
from evals.agreement import VERDICTS, Agreement

Verdicts = list[float | None]
"""Of each pair; None where there is none."""


def calibrate(config: Config, file: str | Path | None, console: Console) -> dict[str, Agreement]:
    """Have the pairs of a file, by default the shipped ones, judged by the rules and, with `judge.by=model`, by the
    model and by both, as in training; print how far each agrees with the labels.

    Returns:
        The agreement of each, over the pairs that it gave a verdict on.

    Raises:
        PairError: the file cannot be used.
        ConfigError, EndpointError, BudgetError: the model cannot be asked.
    """
    check(config, "judge")
    pairs = load_pairs(file or SHIPPED)
    by: dict[str, Verdicts] = {"rules": [judge(pair.task, pair.answer) for pair in pairs]}
    model = judge_of(config)
    if isinstance(model, ModelJudge):
        said = asyncio.run(_asked(model, pairs))
        by["model"] = said
        known = [certain(pair.task, pair.answer) for pair in pairs]
        by["rules, then model"] = [s if k is None else k for s, k in zip(said, known, strict=True)]
    found = {}
    table = Table("judge", "pairs", "no verdict", "as people", "kappa", "too high")
    for name, verdicts in by.items():
        labels, given = _judged(pairs, verdicts)
        missing = len(pairs) - len(given)
        if not given:
            table.add_row(name, "0", str(missing), "-", "-", "-")
            continue
        found[name] = one = Agreement.of(labels, given)
        figures = f"{100 * one.agreed:.1f} %", f"{one.kappa:.3f}", f"{100 * one.too_high:.1f} %"
        table.add_row(name, str(one.pairs), str(missing), *figures)
    console.print(table)
    console.print(_kinds(pairs, by))
    for name, one in found.items():
        console.print(_confusion(name, one))
    return found


async def _asked(model: ModelJudge, pairs: Sequence[Pair]) -> Verdicts:
    async def verdict(pair: Pair) -> float | None:
        try:
            return await model.compare(pair.question, pair.truth, pair.answer)
        except AnswerError:
            return None

    try:
        return list(await asyncio.gather(*map(verdict, pairs)))
    finally:
        await model.close()


def _judged(pairs: Sequence[Pair], verdicts: Verdicts) -> tuple[list[float], list[float]]:
    """Label and verdict of each pair that has one."""
    both = [(p.label, verdict) for p, verdict in zip(pairs, verdicts, strict=True) if verdict is not None]
    return [label for label, _ in both], [verdict for _, verdict in both]


def _kinds(pairs: Sequence[Pair], by: dict[str, Verdicts]) -> Table:
    table = Table("kind", "pairs", *(f"{name}, as people" for name in by))
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        shares = []
        for verdicts in by.values():
            of_kind = [(p, v) for p, v in zip(pairs, verdicts, strict=True) if p.kind == kind and v is not None]
            agreed = sum(p.label == v for p, v in of_kind)
            shares.append(f"{100 * agreed / len(of_kind):.0f} %" if of_kind else "-")
        table.add_row(kind or "-", str(sum(pair.kind == kind for pair in pairs)), *shares)
    return table


def _confusion(name: str, found: Agreement) -> Table:
    table = Table("people", *(f"{name}: {verdict:g}" for verdict in VERDICTS))
    for label in VERDICTS:
        table.add_row(f"{label:g}", *(str(found.confusion.get((label, verdict), 0)) for verdict in VERDICTS))
    return table
