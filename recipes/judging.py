"""The judge of a run: whether it is there, whether it still judges as people do, and what it costs.

Invariant: training never waits for a canary; one that cannot be asked is a warning and no figure.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from actors.ray_start import start_ray
from configs import Config
from configs.judge import ServedModelConfig
from endpoint.endpoint import SPENDING, AnswerError, EndpointError
from endpoint.spending import Spending, Usage
from env.judging.judge import JudgeError
from env.judging.model_judge import ModelJudge
from env.judging.of_config import folder_of, judge_of
from env.judging.pairs import Pair, load_pairs
from env.judging.rules import certain
from evals.agreement import Agreement
from recipes.progress import phase

_log = logging.getLogger(__name__)
CANARY_SEED = 1_000_003
"""A canary asks with seeds of its own, so that it is not answered with what the judge said before."""
WORSE = 0.2
"""By how much fewer of a canary's pairs may be judged as at the first look before that is said."""


def require_judge(config: Config) -> None:
    """Ask the judge about one pair, before anything is started. Raises JudgeError, with the model and its address,
    where it cannot be asked or gives no verdict."""
    judge = judge_of(config)
    if not isinstance(judge, ModelJudge):
        return
    pair = _canary_pairs(1)[0]
    try:
        asyncio.run(_verdicts(judge, [pair]))
    except (AnswerError, EndpointError) as error:
        raise JudgeError(f"judge.model: {config.judge.model.model} cannot judge ({error})") from None


@contextmanager
def served_judge(config: Config) -> Iterator[Config]:
    """The config with the address of the judge that `judge.serve` names, which is served on the run's cluster until the
    block ends; the config as it is where none is named. Raises EngineError: it did not come up."""
    judge = config.judge
    if not judge.serve.model:
        yield config
        return
    from actors.engine.chat_server import served

    start_ray(config)
    with phase(f"judge: {judge.serve.model} comes up"):
        stack = ExitStack()
        url = stack.enter_context(served(judge.serve))
    with stack:
        # What it has said is kept by the model's own name, not by that of a server which each run has anew.
        model = dataclasses.replace(judge.model, base_url=url, model=judge.serve.model)
        yield dataclasses.replace(config, judge=dataclasses.replace(judge, model=model, serve=ServedModelConfig()))


class Canary:
    """Looks, every `judge.canary_every` training steps, at whether the judge judges labelled pairs as people did."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pairs = _canary_pairs(config.judge.canary_pairs) if config.judge.by == "model" else []
        self._threads = ThreadPoolExecutor(1, "canary")
        self._looking: Future[list[float]] | None = None
        self._first: float | None = None
        self._spending: Spending | None = None

    def figures(self, step: int) -> dict[str, float]:
        """What a step of training adds to its metrics: what the judge cost until now and, where a look has ended since
        the step before, what it saw. Begins the look that is due."""
        judge = self._config.judge
        if judge.by == "rules":
            return {}
        self._spending = self._spending or Spending(folder_of(self._config) / SPENDING, judge.model.model)
        total = sum(self._spending.usage().values(), Usage())
        figures = {"judge_paid": float(total.paid), "judge_cached": float(total.cached), "judge_usd": total.usd}
        if self._looking is not None and self._looking.done():
            figures |= self._seen(self._looking)
            self._looking = None
        if self._looking is None and judge.canary_every and step % judge.canary_every == 1 % judge.canary_every:
            self._looking = self._threads.submit(self._look, step)
        return figures

    def close(self) -> None:
        """Forget a look that has not ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look(self, step: int) -> list[float]:
        model = self._config.judge.model
        asked = dataclasses.replace(model, seed=(model.seed + CANARY_SEED * step) % 2**31)
        judge = ModelJudge(dataclasses.replace(self._config.judge, model=asked), folder_of(self._config) / "canary")
        return asyncio.run(_verdicts(judge, self._pairs))

    def _seen(self, look: Future[list[float]]) -> dict[str, float]:
        try:
            verdicts = look.result()
        except Exception as error:  # noqa: BLE001 - the judge of the episodes says for itself what is wrong with it
            _log.warning("judge: its canary could not be asked (%s)", " ".join(str(error).split()))
            return {}
        found = Agreement.of([pair.label for pair in self._pairs], verdicts)
        if self._first is None:
            self._first = found.agreed
        if found.agreed < self._first - WORSE:
            _log.warning(
                "judge: agrees with people on %.0f %% of its canary's pairs; at first it was %.0f %%",
                *(100 * found.agreed, 100 * self._first),
            )
        return {"judge_agreed": found.agreed, "judge_too_high": found.too_high}


def _canary_pairs(count: int) -> list[Pair]:
    """So many of the shipped pairs, spread over all kinds, none of which the rules are certain of."""
    pairs = [pair for pair in load_pairs() if certain(pair.task, pair.answer) is None]
    return pairs[:: max(1, len(pairs) // count)][:count]


async def _verdicts(judge: ModelJudge, pairs: Sequence[Pair]) -> list[float]:
    try:
        return list(await asyncio.gather(*(judge.compare(pair.question, pair.truth, pair.answer) for pair in pairs)))
    finally:
        await judge.close()
