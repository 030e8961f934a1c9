"""Whether a run may use the tasks that are there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from configs import Config, load_config
from env.datasets.rows import SourceError
from learner.weights.vllm_transfer import ParameterSource
from recipes.data import run_synth
from synth.errors import SynthError
from synth.pipeline.resume_settings import keep_settings, keep_world
from synth.synthesis import STAGES_FOLDER

BASE = ("synth.source=/data/a.jsonl", "synth.text_filter=model", "synth.text_model.model=m")


def config(*changes: str) -> Config:
    return load_config(None, [*BASE, *changes])


@pytest.mark.parametrize("source", ["/data/b.jsonl", "null"])
@pytest.mark.parametrize("ended", [True, False])
def test_a_command_refuses_what_another_source_began(source: ParameterSource, ended: Any, tmp_path: Path) -> None:
    data = tmp_path / "run" / "data"
    (data / STAGES_FOLDER).mkdir(parents=True)
    keep_settings(config(), data / STAGES_FOLDER)
    if ended:
        (data / "train.jsonl").write_text("")
    changed = config(f"runs_dir={tmp_path}", f"synth.source={source}")
    if ended and source == "null":
        assert run_synth(changed).data == data, "tasks that are there may be used without their source"
        return
    said = rf'synth.source was "/data/a.jsonl" and is {json.dumps(None if source == "null" else source)}'
    with pytest.raises(SynthError, match=rf"{said}.*choose another name, or start over by removing {data}$"):
        run_synth(changed)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("world.max_duration_s=60", "world.max_duration_s was 40.0 and is 60.0"),
        ("world.size_px=64", "world.size_px was 96 and is 64"),
        ("synth.source=/films", 'synth.source was null and is "/films"'),
    ],
)
def test_tasks_of_another_world_are_not_taken_for_those_of_the_config(
    change: str, sentence: str, tmp_path: Path
) -> None:
    data = tmp_path / "run" / "data"
    base = ("world.size_px=96", f"runs_dir={tmp_path}")
    keep_world(load_config(None, base), data)
    (data / "train.jsonl").write_text("")
    with pytest.raises(
        SynthError, match=rf"holds tasks of another world .*{re.escape(sentence)}.*start over by removing {data}$"
    ):
        run_synth(load_config(None, [*base, change]))
    for other in ("seed=1", "world.train_videos=7", "world.kinds=[when]"):
        assert run_synth(load_config(None, [*base, other])).data == data


@pytest.mark.parametrize(
    ("source", "sentence"), [("nowhere", "no such file or folder"), ("film.mp4", "is a single video; name the folder")]
)
def test_a_source_that_cannot_be_one_is_said_before_ray_starts(
    source: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.data.start_ray", lambda _: pytest.fail("was started"))
    (tmp_path / "film.mp4").touch()
    config = load_config(None, [f"runs_dir={tmp_path}", f"synth.source={tmp_path}/{source}", "synth.segmenter=motion"])
    with pytest.raises(SourceError, match=sentence):
        run_synth(config)
