"""How far a judge's verdicts are those of people. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

VERDICTS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Agreement:
    """A judge beside labels."""

    pairs: int
    confusion: dict[tuple[float, float], int]
    """How often each (label, verdict) came."""
    agreed: float
    """Share of the pairs whose verdict is the label, 0 to 1."""
    kappa: float
    """Cohen's kappa: agreement beyond what the same shares of verdicts would have by chance; 1 is all, 0 is chance."""
    too_high: float
    """Share of the pairs whose verdict is above the label: reward that was not earned."""

    @classmethod
    def of(cls, labels: Sequence[float], verdicts: Sequence[float]) -> "Agreement":
        """Compare them pair by pair. Raises ValueError: there are none, or not as many of both."""
        if not labels:
            raise ValueError("no labelled pairs to compare verdicts with")
        confusion = Counter(zip(labels, verdicts, strict=True))
        n = len(labels)
        given, said = Counter(labels), Counter(verdicts)
        agreed = sum(label == verdict for label, verdict in zip(labels, verdicts, strict=True)) / n
        chance = sum(given[value] * said[value] for value in given) / n**2
        kappa = (agreed - chance) / (1 - chance) if chance < 1 else 1.0
        too_high = sum(verdict > label for label, verdict in zip(labels, verdicts, strict=True)) / n
        return cls(n, dict(confusion), agreed, kappa, too_high)
