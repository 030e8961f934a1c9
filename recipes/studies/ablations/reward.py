"""The reward ablation: GRPO with each reward, from one cold start (paper, section 3.3).

Invariant: the arms of a seed differ in nothing but `episode.reward`; policy, tasks, their order and steps are the same.
"""

import dataclasses
from pathlib import Path

from configs import Config
from configs.episode import RewardConfig
from configs.rules import check
from env.trajectory import stream_trajectories
from evals.score import gains, score
from recipes.folder import RunFolder, with_arm
from recipes.phases import first_model, run_cold_start, run_train
from recipes.studies.ablations.branches import branch_off, each_seed
from recipes.studies.ablations.reward_page import RewardArm, page
from storage.files import write_text

PAGE = "reward.md"
"""In the folder of the config's own run."""


def rewards_of(config: Config) -> dict[str, RewardConfig]:
    """The rewards that are compared, by what the page calls them: the paper's parts one after the other with the
    paper's weights, its parsimony for right answers alone, and the config's own where that is none of them."""
    paper = RewardConfig()
    rewards = {
        "accuracy": dataclasses.replace(paper, beta=0.0, gamma=0.0),
        "format": dataclasses.replace(paper, gamma=0.0),
        "paper": paper,
        "gated": dataclasses.replace(paper, parsimony_needs_right=True),
    }
    own = config.episode.reward
    return rewards if own in rewards.values() else {**rewards, "own": own}


def ablate_reward(config: Config) -> Path:
    """Train every reward with every seed of `ablation.seeds`, unless it was done before: the config's own reward in the
    run that `videoseeker train` would make, the others in `reward` in that run's folder. Returns the page, which is
    written anew after every arm."""
    check(with_arm(config, "both"), "ablation")
    rewards = rewards_of(config)
    found: dict[str, list[RewardArm]] = {name: [] for name in rewards}
    written = Path(config.runs_dir) / config.name / PAGE
    for run in each_seed(with_arm(config, "both")):
        for name, reward in rewards.items():
            found[name].append(_arm_of(run.seed, _trained(run, name, reward)))
            write_text(written, page(config, rewards, found))
    print(f"reward: {written}")
    return written


def _trained(run: Config, name: str, reward: RewardConfig) -> RunFolder:
    if reward == run.episode.reward:
        return run_train(run, resume=True)
    start = run_cold_start(run)
    arm = dataclasses.replace(
        run,
        name=f"{run.name}/reward/{name}",
        data_dir=str(start.data),
        model=dataclasses.replace(run.model, path=str(first_model(run, start).absolute())),
        episode=dataclasses.replace(run.episode, reward=reward),
    )
    branch_off(arm, start)
    return run_train(arm, resume=True)


def _arm_of(seed: int, folder: RunFolder) -> RewardArm:
    played = [folder.episodes(phase) for phase in ("sft", "grpo")]
    before, after = (score(stream_trajectories(file)) for file in played)
    return RewardArm(seed, before, after, gains(*map(stream_trajectories, played)))
