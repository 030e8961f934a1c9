"""Learner states that fit any number of ranks and any ZeRO stage from 1 to 3: DeepSpeed's universal checkpoints.

Invariant: a conversion reads what was saved and changes nothing of it.
"""

import contextlib
import io
from argparse import Namespace
from pathlib import Path

import torch

MODEL_STATES = {2: "mp_rank_00_model_states.pt", 3: "zero_pp_rank_0_mp_rank_00_model_states.pt"}
"""Names under which ZeRO 1 and 2, and ZeRO 3, look for what belongs to no parameter."""


def convert(source: Path, out: Path, zero_stage: int) -> None:
    """Convert a DeepSpeed checkpoint of ZeRO 1 to 3, the folder `source` with the `*_states.pt` of all ranks, into the
    universal format, in the new folder `out`, for any number of ranks of `zero_stage`. Raises ValueError where it was
    saved before the first update."""
    from deepspeed.checkpoint import ds_to_universal

    out.mkdir(parents=True)
    settings = Namespace(
        input_folder=str(source),
        output_folder=str(out),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            ds_to_universal.main(settings)
        except KeyError as error:
            raise ValueError(
                f"{source}: has no optimizer state to convert ({error} is missing); where no update was made before "
                "the checkpoint, start anew instead"
            ) from None
    _fit(out, zero_stage)


def _fit(folder: Path, zero_stage: int) -> None:
    """Add what the stage asks for and the conversion from another stage leaves out (DeepSpeed 0.19.8)."""
    from deepspeed import __version__

    wanted, other = (MODEL_STATES[3], MODEL_STATES[2])[:: 1 if zero_stage == 3 else -1]
    if not (folder / wanted).exists():
        (folder / other).rename(folder / wanted)
    path = folder / "zero" / "optimizer_state.pt"
    state = torch.load(path, weights_only=False)
    sharded = "optimizer_state_dict" in state
    if zero_stage == 3 and not sharded:
        step = torch.load(next(folder.glob("zero/*/step.pt")), weights_only=False)
        state["optimizer_state_dict"] = {"state": {0: {"step": step}}, "param_groups": state["param_groups"]}
        torch.save(state, path)
    if zero_stage < 3 and sharded:
        torch.save({**state, "ds_version": __version__}, path)
        step = state["optimizer_state_dict"]["state"][0]["step"]
        for parameter in [folder for folder in path.parent.iterdir() if folder.is_dir()]:
            torch.save(step, parameter / "step.pt")
            for name in ("fp32.pt", "exp_avg.pt", "exp_avg_sq.pt"):
                torch.save({"param": torch.load(parameter / name)}, parameter / name)
