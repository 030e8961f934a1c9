"""What several arms of a study share: a run for each seed, and one cold start from which the arms branch off."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence

from configs import Config
from env.task import Task, save_tasks
from recipes.folder import RunFolder
from storage.files import whole_folder


def each_seed(config: Config) -> Iterator[Config]:
    """The runs of `ablation.seeds`. The config's own seed has the config's own name, so that what `videoseeker train`
    and `demo` made of it is not made again."""
    for seed in config.ablation.seeds:
        name = config.name if seed == config.seed else f"{config.name}-seed{seed}"
        yield dataclasses.replace(config, name=name, seed=seed)


def branch_off(arm: Config, start: RunFolder, tasks: Sequence[Task] = ()) -> RunFolder:
    """The folder of an arm that goes on from the policy of another's cold start, whose held-out episodes are its own
    too. It is made once.

    Args:
        tasks: What GRPO plays; empty takes what the start's would.
    """
    folder = RunFolder.of(arm, make=False)
    if folder.arm.exists():
        return folder
    with whole_folder(folder.arm) as partial:
        shutil.copytree(start.sft, partial / start.sft.name)
        if (played := start.episodes("sft")).exists():
            (partial / played.parent.name).mkdir()
            shutil.copy(played, partial / played.parent.name)
        if tasks:
            save_tasks(partial / folder.rl.name, tasks)
    return folder
