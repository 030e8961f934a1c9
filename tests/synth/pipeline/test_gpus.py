"""Which actors of the pipeline get a GPU, and how many share one; Ray takes these GPUs on trust."""

import asyncio
import json
import os
from pathlib import Path

import pytest
import ray

from configs import Config, load_config
from storage.files import write_text
from synth.errors import SynthError
from synth.pipeline.run import ended, run_stages
from synth.pipeline.worker import Stage
from synth.record import STAGES, Record
from tests.servers.ray_session import own_ray


def seated(name: str, config: Config, folder: Path) -> Stage:
    """A stage that notes the GPUs of its actor, and goes on once both actors of it are there."""
    write_text(folder / f"{name}.{os.getpid()}.gpus", json.dumps(ray.get_gpu_ids()))

    async def pass_on(record: Record) -> Record:
        async with asyncio.timeout(240):
            while len(list(folder.glob(f"{name}.*.gpus"))) < 2:
                await asyncio.sleep(0.1)
        return record

    return pass_on


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_segmenters_share_gpus_and_no_other_actor_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth.pipeline.run.make_stage", seated)
    gpus = ["synth.gpus_per_segmenter=0.5", "synth.workers=2", "synth.cpus_per_worker=0.1"]
    config = load_config(None, [*gpus, "synth.records_per_shard=1"])
    records = [Record(f"r{i}", "test", "v.mp4", "?", "yes") for i in range(4)]
    with own_ray(num_cpus=2, num_gpus=1):
        assert run_stages(lambda: records, config, tmp_path) == 4
        assert [record.rejected_by for record in ended(tmp_path, 4)] == [""] * 4
    seats = {stage: [json.loads(note.read_text()) for note in tmp_path.glob(f"{stage}.*.gpus")] for stage in STAGES}
    assert seats == {stage: [[0], [0]] if stage == "mask" else [[], []] for stage in STAGES}


def test_gpus_that_this_machine_lacks_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0, "GPU": 1.0})
    config = load_config(None, ["synth.gpus_per_segmenter=0.5", "synth.workers=3"])
    with pytest.raises(SynthError, match=r"asks for 1\.5 GPUs, and this machine has 1"):
        run_stages(lambda: [Record("r", "test", "v.mp4", "?", "yes")], config, tmp_path)
