"""`videoseeker synth` on footage: from a source to task files, a data set, and what is to be known about it."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from configs import Config
from endpoint.endpoint import SPENDING
from endpoint.spending import requests, spent
from env.datasets.rows import SourceError
from synth.errors import SynthError
from synth.output.dataset import split_records, write_dataset, write_tasks
from synth.output.datasheet import Census, datasheet, prompts
from synth.output.split import split_of
from synth.pipeline.make_stage import ANSWERS
from synth.pipeline.mixed_films import mixed_records
from synth.pipeline.resume_settings import forget_settings, keep_settings
from synth.pipeline.run import ended, run_stages, shards_of
from synth.pipeline.shards import write_records
from synth.record import Record
from synth.sources.reading import read_source
from synth.world.records import world_records

STAGES_FOLDER = "stages"
"""Below the data's folder: what every stage did of every record, the models' replies, and the marked frames."""


def synthesise(config: Config, folder: Path) -> str:
    """Make the data of `config.synth.source` in `folder`, or go on where a run was stopped.

    It holds then `train.jsonl` and `test.jsonl` for training, `rl.jsonl` if films were made for GRPO alone, `dataset/`
    for Hugging Face `datasets`, `rejected.jsonl` with every record that did not get through, and `bad_rows.jsonl` with
    what the source could not be read at.

    Returns:
        The retention, and what its models were asked and paid, with all that kills had asked again, in one line.

    Raises:
        SynthError, SourceError: the folder was begun with other settings, the source cannot be used, a model cannot be
            reached, a budget is spent, or nothing got through.
    """
    folder, work = folder.absolute(), folder.absolute() / STAGES_FOLDER
    work.mkdir(parents=True, exist_ok=True)
    keep_settings(config, work)
    try:
        shards = run_stages(lambda: _source(config, work), config, work)
    except (SynthError, SourceError):
        if shards_of(work) is None:
            forget_settings(work)  # nothing was made of the source, which may be mended
        raise
    census = Census.of(ended(work, shards))
    write_records(folder / "rejected.jsonl", (record for record in ended(work, shards) if record.rejected_by))
    if not census.marked:
        rejected = sum(counts.total() for counts in census.rejected.values())
        stage, counts = max(census.rejected.items(), key=lambda item: item[1].total())
        [(reason, count)] = counts.most_common(1)
        likeliest = f"{count} of them at the {stage} stage for: {reason}"
        raise SynthError(f"{config.synth.source}: none of {rejected} records got through; {likeliest}")
    split = split_records(ended(work, shards), config)
    dataset = folder / "dataset"
    write_dataset(split, dataset)
    (dataset / "prompts.json").write_text(prompts())
    splits, log = {name: len(rows) for name, rows in split.items()}, work / ANSWERS / SPENDING
    (dataset / "README.md").write_text(datasheet(census, splits, requests(log), config))
    write_tasks(split, folder)
    return "; ".join(filter(None, (census.summary(), spent(log).summary())))


def _source(config: Config, work: Path) -> Iterable[Record]:
    synth, most = config.synth, config.synth.most_records or None
    assert synth.source is not None
    if synth.source == "world":
        videos = work / "videos"
        videos.mkdir(parents=True, exist_ok=True)
        yield from islice(world_records(config.world, config.seed, videos), most)
        return
    source = Path(synth.source)
    root = synth.video_root or (None if source.is_dir() else source.parent)
    with open(work.parent / "bad_rows.jsonl", "w", encoding="utf-8") as lines:

        def on_bad(where: str, reason: str) -> None:
            lines.write(json.dumps({"where": where, "reason": reason}) + "\n")

        apart = []
        for record in islice(read_source(synth.source, root, synth.source_kind, synth.licence, on_bad), most):
            yield record
            if not record.question and split_of(record.video, config.seed, synth.test_fraction) == "train":
                apart.append(record.video)
        if synth.mixing.films or synth.mixing.rl_films:
            yield from mixed_records(apart, config, work)
