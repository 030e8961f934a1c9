"""A training run that SIGKILL ends in the middle of a step does the lost steps again, bit for bit.

`python -m benchmarks.resume` does this at twenty random moments, against a run that nothing ends.
"""

from pathlib import Path

import pytest

from benchmarks.resume import Run, prepare


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_does_its_lost_steps_again_bit_for_bit(tmp_path: Path) -> None:
    config = prepare(tmp_path, steps=5)
    config.grpo.checkpoint_every = 3
    first = Run(config, tmp_path / "runs")
    for _ in range(5):
        assert first.wait_for("update")
    assert first.kill().activity == "update"
    lost = first.rows()
    assert sorted(lost) == [1, 2, 3, 4]
    again = Run(config, tmp_path / "runs")
    assert again.wait_for(None)
    done = again.rows()
    assert sorted(done) == [1, 2, 3, 4, 5]
    assert done[4] == lost[4], "the checkpoint was that of step 3"
    assert done[4]["loss"] != done[3]["loss"]
    assert done[4]["grad_norm"] > 0
