"""What goes quietly wrong in a training, seen in the metrics of its steps: one sentence as it begins.

Invariant: alarms follow from the metrics of the steps in their order alone, so a run that goes on finds those that ring
by reading its rows again.

- `tool_calls` rings when the calls an episode have halved within ten steps: agents that stop looking rarely begin
  again. It clears when three quarters of what they were are back. Below one call in five episodes there is nothing to
  halve.
- `entropy` rings below a tenth of its mean over the first five steps: what is left to sample hardly differs, so that
  groups are uniform and nothing is explored. It clears above a fifth. It is a ratio, as the entropy in nats depends on
  the vocabulary and on the cold start (a policy that was well taught begins at some hundredths).
- `accuracy`, `format`, `parsimony` and `evidence` ring when this part of the reward, if it has a weight, was the same
  within every group for ten steps, and not at its most: it pays nobody for doing better. They clear when a group
  differs in it. That a part is at its most is what training is for: format soon is, and so is parsimony where nobody
  calls a tool, which `tool_calls` says.

Calls and entropy are means of three steps, as single ones are noisy.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from statistics import fmean

MEAN_OF = 3
"""Steps that a mean of calls or entropy is of."""
WITHIN = 10
"""Steps within which calls halve, and for which a part of the reward is flat."""
LEAST_CALLS = 0.2
"""Calls an episode that there must have been."""
FIRST = 5
"""Steps whose entropy is what a run begins with."""
PARTS = {
    "accuracy": "accuracy",
    "format": "format_reward",
    "parsimony": "parsimony_reward",
    "evidence": "evidence_reward",
}
"""Parts of the reward, by the metric that is their mean; `{part}_std_in_group` says how they differ within groups."""


@dataclass(frozen=True)
class Alarm:
    """One that began with a step's metrics."""

    name: str
    step: int
    sentence: str


class Alarms:
    """Those of one training; `observe` its steps in their order."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """`weights` of the parts of the reward; one without a weight is not watched."""
        self._parts = [part for part in PARTS if weights.get(part)]
        self._calls: deque[float] = deque(maxlen=WITHIN + MEAN_OF)
        self._calls_before = 0.0
        self._entropy: deque[float] = deque(maxlen=MEAN_OF)
        self._first: list[float] = []
        self._flat = dict.fromkeys(self._parts, 0)
        self.ringing: dict[str, Alarm] = {}
        """Those that have not cleared, by name."""

    def observe(self, step: int, metrics: Mapping[str, object]) -> list[Alarm]:
        """Take note of a step; returns the alarms that begin with it. A metric that it lacks changes nothing."""
        figures = {name: float(value) for name, value in metrics.items() if isinstance(value, Real)}
        before = set(self.ringing)
        for name, sentence in (
            ("tool_calls", self._tool_calls(figures)),
            ("entropy", self._collapse(figures)),
            *((part, self._flatness(part, figures)) for part in self._parts),
        ):
            if sentence is None:
                self.ringing.pop(name, None)
            elif name not in self.ringing:
                self.ringing[name] = Alarm(name, step, f"step {step}: {sentence}")
        return [alarm for name, alarm in self.ringing.items() if name not in before]

    def _tool_calls(self, figures: Mapping[str, float]) -> str | None:
        if "tool_calls" in figures:
            self._calls.append(figures["tool_calls"])
        means = _running_means(list(self._calls))
        if not means:
            return None
        if "tool_calls" not in self.ringing:
            self._calls_before = max(means)
        now, before, share = means[-1], self._calls_before, 0.75 if "tool_calls" in self.ringing else 0.5
        if now > share * before or before < LEAST_CALLS:
            return None
        return (
            f"tool calls an episode fell from {before:.2f} to {now:.2f} within {WITHIN} steps; does the reward pay for "
            "answers without a look?"
        )

    def _collapse(self, figures: Mapping[str, float]) -> str | None:
        if "entropy" in figures:
            self._entropy.append(figures["entropy"])
            if len(self._first) < FIRST:
                self._first.append(figures["entropy"])
        if len(self._first) < FIRST:
            return None
        now, begun = fmean(self._entropy), fmean(self._first)
        share = 0.2 if "entropy" in self.ringing else 0.1
        if now >= share * begun:
            return None
        return (
            f"the policy's entropy collapsed from {begun:.2g} nats, in the first {FIRST} steps, to {now:.2g}; lower "
            "grpo.lr, or set grpo.clip_high or grpo.entropy_coef"
        )

    def _flatness(self, part: str, figures: Mapping[str, float]) -> str | None:
        spread, mean = figures.get(f"{part}_std_in_group"), figures.get(PARTS[part])
        if spread is not None and mean is not None:
            self._flat[part] = self._flat[part] + 1 if spread == 0 and mean < 1 else 0
        if self._flat[part] < WITHIN:
            return None
        return (
            f"the {part} reward did not differ within any group for {WITHIN} steps, and is not at its most: it teaches "
            "nothing; are the tasks all too easy or too hard?"
        )


def _running_means(values: Sequence[float]) -> list[float]:
    """Means of each `MEAN_OF` values next to each other."""
    return [fmean(values[end - MEAN_OF : end]) for end in range(MEAN_OF, len(values) + 1)]
