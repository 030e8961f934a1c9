"""The pipeline on the procedural world: what comes out is right and whole."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from configs import load_config
from env.datasets.rows import SourceError
from env.task import load_tasks
from synth.errors import SynthError
from synth.pipeline.resume_settings import require_same
from synth.pipeline.shards import read_records, shard_file, write_records
from synth.record import STAGES, Record
from synth.synthesis import synthesise
from synth.world.questions import answer
from synth.world.render import instance_mask
from synth.world.sampling import make_world
from synth.world.tasks import question_of
from tests.servers.processes import Family, family
from tools.marks.rle import decode

CONFIG = """
name: made
world: {train_videos: 6, test_videos: 1, min_duration_s: 16, max_duration_s: 20}
episode: {prompt_max_frames: 2}
synth: {source: world, verifier: world, segmenter: world, test_fraction: 0.5, records_per_shard: 2,
  cpus_per_worker: 0.2}
"""


@pytest.fixture(scope="module")
def members() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    with family(folder) as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "made.yaml"
    path.write_text(CONFIG)
    return path


def command(config: Path, runs: Path) -> tuple[str, ...]:
    return "videoseeker.py", "synth", str(config), f"runs_dir={runs}"


@pytest.fixture(scope="module")
def data(members: Family, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a run that nobody disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    done = members.run(*command(config, runs))
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "made" / "data"


@pytest.mark.slow
def test_every_task_asks_about_the_instance_that_its_mark_is_on(data: Path, config: Path) -> None:
    world_config = load_config(config).world
    records = {r.id: r for path in sorted((data / "stages" / STAGES[-1]).glob("*.jsonl")) for r in read_records(path)}
    tasks = load_tasks(data / "train.jsonl") + load_tasks(data / "test.jsonl")
    assert len(tasks) >= 10
    for task in tasks:
        seed, question = question_of(task)
        world, record = make_world(seed, world_config), records[task.id]
        assert task.answer == answer(world, question)
        assert record.marked is not None
        [mask] = [mask for mask in record.masks if mask.time_s == record.marked.time_s]
        found, truth = decode(mask.rle), instance_mask(world, question.target, mask.time_s, world_config.size_px)
        assert (found & truth).sum() / (found | truth).sum() > 0.9
        assert np.abs(question.mark_time_s - mask.time_s) < 1e-6
    assert any(task.question != records[task.id].question for task in tasks)


@pytest.mark.slow
def test_videos_lie_on_one_side_of_the_split_and_rejected_records_say_why(data: Path) -> None:
    sides = [{Path(task.video).name for task in load_tasks(data / f"{side}.jsonl")} for side in ("train", "test")]
    assert not sides[0] & sides[1]
    rejected = read_records(data / "rejected.jsonl")
    assert {record.rejected_by for record in rejected} >= {"text", "video"}
    assert all(record.reason and not record.reason.startswith("set aside") for record in rejected)


@pytest.mark.slow
def test_hugging_face_datasets_loads_it(data: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(data / "dataset"), cache_dir=str(tmp_path))
    tasks = {task.id: task for task in load_tasks(data / "train.jsonl")}
    assert set(loaded["train"]["id"]) == set(tasks)
    row = loaded["train"][0]
    assert row["question"] == tasks[row["id"]].question
    assert row["marked_frame"].size == (128, 128)
    assert (data / "dataset" / row["video"]).stat().st_size > 0
    assert json.loads(row["mask"])["size"] == [128, 128]


def test_a_run_of_which_nothing_gets_through_says_so_and_leaves_the_reasons(tmp_path: Path) -> None:
    for stage in ("source", STAGES[-1]):
        (tmp_path / "stages" / stage).mkdir(parents=True)
    (tmp_path / "stages" / "source" / "shards").write_text("1")
    gone = Record("a", "own", "a.mp4", "Who?", "he").rejected("text", "set aside: turned down", "400: too long")
    write_records(shard_file(tmp_path / "stages" / STAGES[-1], 0), [gone])
    with pytest.raises(SynthError, match="none of 1 records got through; 1 of them at the text stage"):
        synthesise(load_config(overrides=["synth.source=a.jsonl"]), tmp_path)
    assert read_records(tmp_path / "rejected.jsonl") == [gone]


def test_a_folder_that_was_empty_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    config = load_config(overrides=[f"synth.source={tmp_path}/films", "synth.segmenter=motion"])
    with pytest.raises(SourceError, match="holds no video"):
        synthesise(config, tmp_path / "data")
    (tmp_path / "films" / "a.mp4").write_bytes(b"no film")
    require_same(config, tmp_path / "data" / "stages")
