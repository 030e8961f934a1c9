"""The end of a training that cannot go on, and the bound on updates that were left out."""

from collections.abc import Mapping


class TrainingStopped(RuntimeError):
    """The run cannot go on; the message says why in one sentence."""


def require_updates(step: int, learned: Mapping[str, float], most: int, key: str) -> None:
    """Raise TrainingStopped where by the metrics of a step (`RankGroup.grpo_step`, `sft_step`) `most` updates or more
    in a row were left out; `key` is the setting that `most` is from."""
    bad = learned["bad_in_a_row"]
    if bad >= most:
        raise TrainingStopped(
            f"step {step}: {bad:g} updates in a row were left out ({key} {most}), as their loss or gradient was not "
            "finite or no picture of their batches could be read; the weights are those before them: look for the "
            "ranks' warnings, then lower the learning rate or mend the videos"
        )
