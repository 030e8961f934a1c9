"""The benchmark of the synthesis does all of its work, on a little of it."""

from pathlib import Path

import pytest

from benchmarks.synth import by_stage, pipeline_memory_growth, text_filter
from synth.record import STAGES


@pytest.mark.process
def test_every_stage_ends_records_and_the_text_filter_asks_for_each(tmp_path: Path) -> None:
    found = text_filter(tmp_path / "text", records=40, repeats=2)
    assert found["median"] > 0
    speeds = by_stage(tmp_path / "stages", videos=4)
    assert list(speeds) == list(STAGES)
    assert all(speed > 0 for speed in speeds.values())
    pipeline_memory_growth(tmp_path / "memory", tmp_path / "stages", records=200)
    assert len(list((tmp_path / "memory" / "mark").glob("*.jsonl"))) == 2
