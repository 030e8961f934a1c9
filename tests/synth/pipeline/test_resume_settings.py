"""Work that was begun with other settings is not gone on with."""

from pathlib import Path

import pytest

from configs import Config, load_config
from synth.errors import SynthError
from synth.pipeline.resume_settings import content, keep_settings, require_same

BASE = ("synth.source=/data/a.jsonl", "synth.text_filter=model", "synth.text_model.model=m")


def config(*changes: str) -> Config:
    return load_config(None, [*BASE, *changes])


@pytest.fixture
def work(tmp_path: Path) -> Path:
    keep_settings(config(), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        "synth.source=/data/b.jsonl",
        "synth.source=world",
        "synth.video_root=/videos",
        "synth.most_records=5",
        "synth.licence=MIT",
        "synth.text_filter=rules",
        "synth.text_model.model=n",
        "synth.text_model.temperature=0.5",
        "synth.video_model.max_frames=8",
        "synth.verifier=world",
        "synth.segmenter=facebook/sam3",
        "synth.masks.min_score=0.6",
        "synth.prompt_kinds=[point]",
        "synth.rewriter=model",
        "seed=1",
    ],
)
def test_what_changes_records_is_refused_by_its_key(change: str, work: Path) -> None:
    key, _, value = change.partition("=")
    with pytest.raises(SynthError, match=rf"was begun with other settings \({key} was .* and is .*{value[-3:-1]}"):
        keep_settings(config(change), work)
    keep_settings(config(), work)


@pytest.mark.parametrize(
    "change",
    [
        "synth.workers=3",
        "synth.records_per_shard=7",
        "synth.cpus_per_worker=0.5",
        "synth.test_fraction=0.5",
        "synth.masks.timeout_s=9",
        "synth.text_model.base_url=http://elsewhere/v1",
        "synth.text_model.concurrency=2",
        "synth.text_model.budget_usd=5",
        "synth.text_model.timeout_s=9",
        "world.size_px=64",
        "grpo.steps=3",
    ],
)
def test_what_changes_no_record_is_not(change: str, work: Path) -> None:
    keep_settings(config(change), work)


def test_a_world_is_told_by_its_settings(tmp_path: Path) -> None:
    keep_settings(config("synth.source=world"), tmp_path)
    keep_settings(config("synth.source=world", "world.test_videos=3"), tmp_path)
    with pytest.raises(SynthError, match=r"world\.size_px was 128 and is 64"):
        keep_settings(config("synth.source=world", "world.size_px=64"), tmp_path)


def test_data_that_is_ended_may_be_trained_on_with_another_seed(work: Path) -> None:
    require_same(config("seed=1"), work, ended=True)
    with pytest.raises(SynthError, match=r"synth\.source was"):
        require_same(config("synth.source=/data/b.jsonl"), work, ended=True)


def test_a_source_that_was_edited_is_noticed_until_the_work_has_ended(tmp_path: Path) -> None:
    source, work = tmp_path / "a.jsonl", tmp_path / "work"
    source.write_text("{}")
    work.mkdir()
    edited = load_config(None, [f"synth.source={source}"])
    keep_settings(edited, work)
    keep_settings(edited, work)
    source.write_text("{ }")
    with pytest.raises(SynthError, match=r"\(the content of synth.source was \"\w{16}\" and is \"\w{16}\"\)"):
        keep_settings(edited, work)
    source.unlink()
    require_same(edited, work, ended=True)


def test_a_folder_is_as_it_was_while_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.mp4").write_bytes(b"1234")
    before = content(tmp_path)
    assert before is not None
    assert before.startswith("1 files, ")
    assert content(tmp_path) == before
    (tmp_path / "b.mp4").write_bytes(b"1234")
    assert content(tmp_path) != before
    (tmp_path / "b.mp4").rename(tmp_path / "day" / "b.mp4")
    after = content(tmp_path)
    assert after is not None
    assert after.startswith("2 files, ")
    assert content(tmp_path / "none") is None
