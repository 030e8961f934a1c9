"""What a resumed stage keeps of its metrics."""

import json
from pathlib import Path

from recipes.metrics import forget_rows


def test_steps_to_be_run_again_and_a_torn_line_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    forget_rows(path, "grpo", after=0)
    assert path.read_text() == ""
    rows = [{"stage": "sft", "step": 9}, *({"stage": "grpo", "step": step} for step in (1, 2, 3))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"stage": "grpo", "st')
    forget_rows(path, "grpo", after=2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows[:3]
