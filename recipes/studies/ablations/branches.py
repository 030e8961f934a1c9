"""What the arms of a study share: a run for each seed, a cold start from which they branch off, and a page."""

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from configs import Config
from env.task import Task, save_tasks
from env.trajectory import stream_trajectories
from evals.score import accuracies, score
from recipes.folder import RunFolder, RunFolderError, alone
from recipes.studies.ablations.arms_page import Arm, ArmScores, Study, page
from storage.files import whole_folder, write_text


def each_seed(config: Config) -> Iterator[Config]:
    """The runs of `ablation.seeds`. The config's own seed has the config's own name, so that what `videoseeker train`
    and `demo` made of it is not made again. Other commands are kept out of each until the next is asked for. Raises
    RunFolderError where one is at it."""
    for seed in config.ablation.seeds:
        if seed == config.seed:
            yield config  # its folder is the command's own
            continue
        run = dataclasses.replace(config, name=f"{config.name}-seed{seed}", seed=seed)
        with alone(RunFolder.of(run, make=False).root):
            yield run


def branch_off(arm: Config, start: RunFolder, tasks: Sequence[Task] = (), *, same_tools: bool = True) -> RunFolder:
    """The folder of an arm that goes on from the policy of another's cold start. It is made once.

    Args:
        tasks: What GRPO plays; empty takes what the start's would.
        same_tools: The start's held-out episodes are this arm's too.

    Raises:
        RunFolderError: it was made, and what it began with is gone.
    """
    folder = RunFolder.of(arm, make=False)
    if folder.sft.exists():
        return folder
    if folder.arm.exists():
        raise RunFolderError(f"{folder.arm}: has lost the policy that it began with; start over by removing it")
    with whole_folder(folder.arm) as partial:
        shutil.copytree(start.sft, partial / start.sft.name)
        if same_tools and (played := start.episodes("sft")).exists():
            (partial / played.parent.name).mkdir()
            shutil.copy(played, partial / played.parent.name)
        if tasks:
            save_tasks(partial / folder.rl.name, tasks)
        elif start.rl.exists():
            shutil.copy(start.rl, partial / folder.rl.name)
    return folder


def announce(run: Config, arm: Arm) -> None:
    """Say which arm the phases that follow are of."""
    print(f"seed {run.seed}: {arm.label}")


def arm_scores(run: Config, folder: RunFolder, name: str, made_of: str = "") -> ArmScores:
    """What the held-out episodes `name` of an arm show; see `ArmScores`."""
    played = folder.episodes(name)
    scores = score(stream_trajectories(played), seed=run.seed)
    return ArmScores(run.seed, scores, accuracies(stream_trajectories(played)), made_of)


def write_study(config: Config, study: Study, found: Mapping[str, Sequence[ArmScores]]) -> Path:
    """Write the page of what was found so far to the folder of the config's own run; returns it."""
    written = Path(config.runs_dir) / config.name / f"{study.name}.md"
    write_text(written, page(config, study, found))
    return written
