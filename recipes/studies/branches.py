"""What several arms of a study share: a run for each seed, and one cold start from which the arms branch off."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence

from configs import Config
from env.task import Task, save_tasks
from recipes.folder import RunFolder, RunFolderError, alone
from storage.files import whole_folder


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


def branch_off(arm: Config, start: RunFolder, tasks: Sequence[Task] = ()) -> RunFolder:
    """The folder of an arm that goes on from the policy of another's cold start, whose held-out episodes are its own
    too. It is made once.

    Args:
        tasks: What GRPO plays; empty takes what the start's would.

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
        if (played := start.episodes("sft")).exists():
            (partial / played.parent.name).mkdir()
            shutil.copy(played, partial / played.parent.name)
        if tasks:
            save_tasks(partial / folder.rl.name, tasks)
    return folder
