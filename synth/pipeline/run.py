"""The four stages as one streaming Ray Data pipeline, from a source of questions to records that are ready to be asked.

Shards of records lie on disk, one folder a stage; what travels through Ray Data are their numbers. So stages work side
by side on different shards, memory does not grow with the source, and a run that is started again does what is left.

Invariant: what comes out is a function of the source, the config and the answers of its models alone; neither kills
nor the number of workers show in it.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

from configs import Config
from storage.files import write_text
from synth.errors import SynthError, raise_first
from synth.pipeline.make_stage import make_stage
from synth.pipeline.shards import read_records, shard_file, write_records
from synth.pipeline.worker import ShardRow, StageWorker
from synth.record import STAGES, Record

SOURCE = "source"
"""Folder of the shards before any stage."""
SHARDS_AT_ONCE = 4
"""Shards that an actor works on, so that the last slow record of one does not leave it idle."""
LOOKING = ("question", "video", "mask", "mark")
"""Stages that decode video."""
SEGMENTING = "mask"
"""The stage that may want a GPU."""


def run_stages(records: Callable[[], Iterable[Record]], config: Config, folder: Path) -> int:
    """Take a source's records through all stages, below `folder`; what is done stays done.

    Args:
        records: reads the source; called once, and not at all when the source was read before.

    Returns:
        The number of shards. `ended` reads what became of their records.

    Raises:
        SynthError: a model cannot be reached, a budget is spent, or the source holds no record.
    """
    folder = folder.absolute()
    count = _sharded(records, config.synth.records_per_shard, folder / SOURCE)
    left = [i for i in range(count) if not shard_file(folder / STAGES[-1], i).exists()]
    if left:
        _require_gpus(config)
        raise_first(row["error"] for row in _pipeline([{"shard": i, "error": ""} for i in left], config, folder))
    return count


def _require_gpus(config: Config) -> None:
    """Raise SynthError where stages would wait for ever for a GPU; a cluster that was joined may still grow one."""
    import ray

    each, workers = config.synth.gpus_per_segmenter, config.synth.workers
    there = ray.cluster_resources().get("GPU", 0.0)
    if each * workers > there and not os.environ.get("RAY_ADDRESS"):
        raise SynthError(
            f"synth.gpus_per_segmenter={each:g} for synth.workers={workers} asks for {each * workers:g} GPUs, and this "
            f"machine has {there:g}"
        )


def shards_of(folder: Path) -> int | None:
    """The number of a source's shards, once it was read whole."""
    counted = folder / SOURCE / "shards"
    return int(counted.read_text()) if counted.exists() else None


def ended(folder: Path, shards: int) -> Iterator[Record]:
    """What became of every record, in the source's order: marked, or rejected with the stage and its reason."""
    for index in range(shards):
        yield from read_records(shard_file(folder / STAGES[-1], index))


def _pipeline(rows: list[ShardRow], config: Config, folder: Path) -> Iterator[ShardRow]:
    import ray.data

    run = secrets.token_hex(8)
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for before, stage in zip((SOURCE, *STAGES), STAGES, strict=False):
        make = partial(make_stage, stage, config, folder)
        dataset = dataset.map(
            StageWorker,
            fn_constructor_args=(make, folder / before, folder / stage, run),
            compute=ray.data.ActorPoolStrategy(
                size=config.synth.workers,
                max_concurrent_calls_per_actor=SHARDS_AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=config.synth.cpus_per_worker if stage in LOOKING else 0.1,
            num_gpus=config.synth.gpus_per_segmenter if stage == SEGMENTING else 0.0,
        )
    return cast(Iterator[ShardRow], iter(dataset.iter_rows()))


def _sharded(records: Callable[[], Iterable[Record]], size: int, folder: Path) -> int:
    """Cut the source into shards, unless that was done; how many there are.

    The file that counts them is written last, so a source that was half read is read again.
    """
    if (known := shards_of(folder.parent)) is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    stream, count = iter(records()), 0
    while shard := list(islice(stream, size)):
        write_records(shard_file(folder, count), shard)
        count += 1
    if not count:
        raise SynthError("the source holds no record that can be used")
    write_text(folder / "shards", str(count))
    return count
