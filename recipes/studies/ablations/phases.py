"""The phase ablation: what SFT and GRPO are worth, each alone and both (paper, Table 5).

The paper's base model answers and calls tools as it was released. What the tiny model is after its captions does
neither, so that the base is the policy whose cold start was without tools: it answers, in the right form, by what the
first look and the marked frame show.

Invariant: all arms of a seed begin with one model and play the same tasks in the same order, for as many steps.
"""

import dataclasses
import shutil
from collections.abc import Iterator

from configs import Config
from configs.rules import check
from env.task import load_tasks
from recipes.folder import RunFolder, RunFolderError, with_arm
from recipes.phases import first_model, run_train
from recipes.studies.ablations.arms_page import Arm, ArmScores, Study
from recipes.studies.ablations.branches import announce, arm_scores, branch_off, each_seed, write_study

STUDY = Study(
    name="phases",
    title="What each phase is worth",
    lead="Base: a cold start on answers without tools, for the tiny model answers nothing before; single-turn RL goes "
    "on from there without tools, agentic RL with them; SFT is on the teacher's episodes with tools.",
    arms={
        "base": Arm("base", 60.8),
        "sft": Arm("SFT", 70.4),
        "single_turn": Arm("single-turn RL", 62.6),
        "agentic": Arm("agentic RL without SFT", 65.9),
        "full": Arm("SFT + agentic RL", 74.5),
    },
    against="sft",
)


def ablate_phases(config: Config) -> None:
    """Train every arm with every seed of `ablation.seeds`, unless it was done before. The arms with and without tools
    are those of `videoseeker ablate tools`; agentic RL without SFT lies in `phases` in the run's folder. The page is
    written anew after every seed."""
    for arm in ("both", "no_tools"):
        check(with_arm(config, arm), "ablation")
    found: dict[str, list[ArmScores]] = {name: [] for name in STUDY.arms}
    for run in each_seed(with_arm(config, "both")):
        for name, scores in _one_seed(run):
            found[name].append(scores)
            written = write_study(config, STUDY, found)
    print(f"phases: {written}")


def _one_seed(run: Config) -> Iterator[tuple[str, ArmScores]]:
    announce(run, STUDY.arms["full"])
    full = run_train(run, resume=True)
    announce(run, STUDY.arms["single_turn"])
    direct = _on_the_same_tasks(with_arm(run, "no_tools"), full)
    yield "base", arm_scores(run, direct, "sft")
    yield "sft", arm_scores(run, full, "sft")
    yield "single_turn", arm_scores(run, direct, "grpo")
    announce(run, STUDY.arms["agentic"])
    agentic = dataclasses.replace(
        run,
        name=f"{run.name}/phases/agentic",
        data_dir=str(full.data),
        model=dataclasses.replace(run.model, path=str(first_model(run, full).absolute())),
    )
    branch_off(agentic, direct, load_tasks(full.rl) if full.rl.exists() else (), same_tools=False)
    yield "agentic", arm_scores(run, run_train(agentic, resume=True), "grpo")
    yield "full", arm_scores(run, full, "grpo")


def _on_the_same_tasks(run: Config, other: RunFolder) -> RunFolder:
    """Train an arm on what another was trained on, where `videoseeker difficulty` chose that. Raises RunFolderError: it
    was trained on something else."""
    folder = RunFolder.of(run)
    if other.rl.exists() and not folder.rl.exists():
        if folder.policy.exists():
            raise RunFolderError(f"{folder.arm}: was trained on all tasks, and {other.arm} on those of {other.rl.name}")
        shutil.copy(other.rl, folder.rl)
    return run_train(run, resume=True)
