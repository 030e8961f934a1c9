"""What a synthesised data set is made of: its counts, what each stage let through and why not, and who did it.

Invariant: every number is counted from the records.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from configs import Config
from configs.endpoint import EndpointConfig
from endpoint.spending import Usage
from synth.record import STAGES, Record
from synth.stages import rewriting, text_filter, verification

TITLES = {
    "question": "questions made",
    "text": "1 text filter",
    "video": "2 video verification",
    "mask": "3 masks",
    "mark": "4 marks and rewriting",
}
"""Names of the stages in the table (paper, Table 8)."""


@dataclass
class Census:
    """What became of the records of a run."""

    rejected: dict[str, Counter[str]] = field(default_factory=lambda: {stage: Counter() for stage in STAGES})
    """By stage, how many records went, by reason."""
    marked: int = 0
    by: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Marked records by what they are: their mark, dimension, form, source and licence."""

    @property
    def total(self) -> int:
        """Records that were asked about at all."""
        return self.marked + sum(counts.total() for counts in self.rejected.values())

    def retention(self) -> list[tuple[str, int, float]]:
        """After each stage: its name, the records left, and their share of all."""
        left, rows = self.total, []
        for stage in STAGES:
            left -= self.rejected[stage].total()
            rows.append((stage, left, left / max(1, self.total)))
        return rows

    def summary(self) -> str:
        """The retention in one line."""
        stages = (f"{TITLES[stage]} {left:,} ({100 * share:.0f} %)" for stage, left, share in self.retention())
        return f"{self.total:,} records; left after {', '.join(stages)}"

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Census":
        """Of all records of a run."""
        census = cls()
        for record in records:
            if record.marked is None:
                census.rejected[record.rejected_by][record.reason] += 1
                continue
            census.marked += 1
            census.by["mark"][record.marked.kind] += 1
            census.by["dimension"][record.dimension or "not said"] += 1
            census.by["form"]["choice" if record.marked.options else "open"] += 1
            census.by["source"][record.source] += 1
            census.by["licence"][record.licence or "not said"] += 1
        return census


def datasheet(census: Census, splits: Mapping[str, int], asked: Mapping[tuple[str, str], Usage], config: Config) -> str:
    """The data set's README: its loading instructions for `datasets`, counts, retention and makers.

    Args:
        splits: number of questions by split.
        asked: what the requests took, by stage and model, each once; see `endpoint.spending.requests`.
    """
    files = "\n".join(
        f"      - split: {name}\n        path: data/{name}.parquet" for name, count in splits.items() if count
    )
    head = f"""---
configs:
  - config_name: default
    data_files:
{files}
task_categories:
  - visual-question-answering
---

# {config.name}

Questions about one marked instance of a video. `marked_frame` shows the mark; the question names its target by it \
alone. Load it with `datasets.load_dataset(<this folder>)`.

{census.marked:,} questions: {", ".join(f"{count:,} in {name}" for name, count in splits.items())}. The split is by \
video.

## What each stage let through

| stage | left | share | rejected, by reason |
|---|---|---|---|
| source | {census.total:,} | 100.0 % | |"""
    lines = []
    for stage, left, share in census.retention():
        reasons = "; ".join(f"{reason} {count:,}" for reason, count in census.rejected[stage].most_common())
        lines.append(f"| {TITLES[stage]} | {left:,} | {100 * share:.1f} % | {reasons} |")
    for name, counts in census.by.items():
        lines += ["", f"## By {name}", "", f"| {name} | questions |", "|---|---|"]
        lines += [f"| {value} | {count:,} |" for value, count in sorted(counts.items())]
    synth = config.synth
    lines += [
        "",
        "## Who made it",
        "",
        f"- text filter: {_who(synth.text_filter, synth.text_model)}",
        f"- video verification: {_who(synth.verifier, synth.video_model)}",
        f"- masks: {synth.segmenter}",
        f"- rewriting: {_who(synth.rewriter, synth.text_model)}",
        f"- seed: {config.seed}",
        "- prompts: those in `prompts.json` beside this file",
    ]
    if synth.mixing.films or synth.mixing.rl_films:
        new = f"{synth.mixing.films:,} for training and {synth.mixing.rl_films:,} for GRPO alone"
        lines.append(f"- films put together anew from the training side: {new}; their names begin with `mixed`")
    if asked:
        lines += ["", "## What the models took", "", *_taken(asked, config)]
    return "\n".join([head, *lines, ""])


def _taken(asked: Mapping[tuple[str, str], Usage], config: Config) -> list[str]:
    lines = [
        "Each request counts once, however often it was sent. Prices are those of the configuration.",
        "",
        "| stage | model | requests | tokens read | tokens written | US dollars |",
        "|---|---|---|---|---|---|",
    ]
    for (stage, model), took in sorted(asked.items(), key=lambda item: (STAGES.index(item[0][0]), item[0][1])):
        settings = config.synth.video_model if stage == "video" else config.synth.text_model
        usd = f"{settings.usd(took.prompt_tokens, took.completion_tokens):,.2f}" if settings.model == model else ""
        tokens = f"{took.prompt_tokens:,} | {took.completion_tokens:,}"
        lines.append(f"| {TITLES[stage]} | `{model}` | {took.paid:,} | {tokens} | {usd} |")
    return lines


def _who(name: str, model: EndpointConfig) -> str:
    return f"the model `{model.model}` at temperature {model.temperature}" if name == "model" else name


def prompts() -> str:
    """The instructions that models were given, and the form of their replies, as JSON."""
    modules = {"text": text_filter, "video": verification, "mark": rewriting}
    given = {stage: {"system": module.PROMPT, "schema": module.SCHEMA} for stage, module in modules.items()}
    return json.dumps(given, indent=2)
