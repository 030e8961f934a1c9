"""Which ranks can take a saved state."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from configs import Config
from learner.checkpoints.folder import CheckpointError
from learner.checkpoints.layout import Layout

SAVED = dataclasses.replace(Layout.of(Config(), "model", 3), ranks=2, zero_stage=2)


def test_it_is_what_it_was_written_as(tmp_path: Path) -> None:
    SAVED.write(tmp_path)
    assert Layout.read(tmp_path) == SAVED
    with pytest.raises(CheckpointError, match="holds no learner state"):
        Layout.read(tmp_path / "none")


def test_the_same_layout_loads_as_it_is_and_another_is_converted() -> None:
    assert SAVED.loads_as_it_is(dataclasses.replace(SAVED, version=9, model_dir="moved"))
    assert not SAVED.loads_as_it_is(dataclasses.replace(SAVED, ranks=4))
    assert not SAVED.loads_as_it_is(dataclasses.replace(SAVED, zero_stage=3))
    whole = dataclasses.replace(SAVED, zero_stage=0)
    assert whole.loads_as_it_is(dataclasses.replace(whole, ranks=8))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "bfloat16"}, "ranks.dtype=float32"),
        ({"zero_stage": 0}, "ranks.zero_stage=2"),
        ({"train": ["projector"]}, r"ranks.train=\[language,projector,vision\]"),
        ({"lora_rank": 8}, "ranks.lora.rank=0, or start"),
    ],
)
def test_ranks_that_cannot_take_it_are_refused_with_the_settings_that_would(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"was saved with 2 rank.*{told}"):
        SAVED.loads_as_it_is(dataclasses.replace(SAVED, **change))


def test_an_adapter_is_told_whole() -> None:
    saved = dataclasses.replace(SAVED, lora_rank=8, lora_alpha=16, lora_targets=["q_proj", "v_proj"])
    with pytest.raises(ValueError, match=r"lora.rank=8, ranks.lora.alpha=16, ranks.lora.targets=\[q_proj,v_proj\]"):
        saved.loads_as_it_is(SAVED)
