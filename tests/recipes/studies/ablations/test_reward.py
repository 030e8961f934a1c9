"""The reward ablation without its training: which rewards, what an arm begins with, the page."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from configs import Config
from configs.episode import RewardConfig
from evals.score import Scores, score
from recipes.folder import RunFolder, RunFolderError, alone
from recipes.studies.ablations.branches import branch_off, each_seed
from recipes.studies.ablations.reward import rewards_of
from recipes.studies.ablations.reward_page import RewardArm, page
from tests.films.sample_episode import make_episode

OF_ITS_OWN = RewardConfig(alpha=0.5, delta=0.3, parsimony_needs_right=True)


def with_reward(reward: RewardConfig) -> Config:
    config = Config(name="mine")
    return dataclasses.replace(config, episode=dataclasses.replace(config.episode, reward=reward))


def test_the_parts_are_added_one_after_the_other() -> None:
    rewards = rewards_of(with_reward(OF_ITS_OWN))
    weights = [(r.alpha, r.beta, r.gamma, r.delta) for r in rewards.values()]
    assert weights == [
        (0.8, 0, 0, 0),
        (0.8, 0.15, 0, 0),
        (0.8, 0.15, 0.05, 0),
        (0.8, 0.15, 0.05, 0),
        (0.5, 0.15, 0.05, 0.3),
    ]
    assert [name for name, reward in rewards.items() if reward.parsimony_needs_right] == ["gated", "own"]


def test_a_config_with_the_paper_s_reward_has_no_arm_of_its_own() -> None:
    assert "own" not in rewards_of(with_reward(RewardConfig()))


def test_the_config_s_own_seed_is_its_own_run() -> None:
    config = dataclasses.replace(Config(name="mine", seed=3))
    config = dataclasses.replace(config, ablation=dataclasses.replace(config.ablation, seeds=[1, 3]))
    assert [(run.name, run.seed) for run in each_seed(config)] == [("mine-seed1", 1), ("mine", 3)]


def test_a_seed_s_run_is_its_study_s_alone_while_it_is_at_it(tmp_path: Path) -> None:
    config = Config(name="mine", runs_dir=str(tmp_path))
    runs = each_seed(config)
    assert next(runs).name == "mine", "whose folder the command itself keeps"
    other = next(runs)
    with (
        pytest.raises(RunFolderError, match="mine-seed1: another command is at work on it"),
        alone(RunFolder.of(other, make=False).root),
    ):
        pass
    assert next(runs).name == "mine-seed2"
    with alone(RunFolder.of(other, make=False).root):
        pass


def test_an_arm_that_lost_its_policy_is_not_trained_anew_unseen(tmp_path: Path) -> None:
    config = Config(runs_dir=str(tmp_path), name="start")
    start = RunFolder.of(config)
    start.sft.mkdir()
    arm = dataclasses.replace(config, name="start/reward/paper")
    branch_off(arm, start).sft.rmdir()
    with pytest.raises(RunFolderError, match="has lost the policy that it began with"):
        branch_off(arm, start)


def test_an_arm_goes_on_from_the_start_s_policy_and_answers_and_nothing_else(tmp_path: Path) -> None:
    config = Config(runs_dir=str(tmp_path), name="start")
    start = RunFolder.of(config)
    for made in (start.sft, start.policy, start.checkpoints):
        made.mkdir()
        (made / "model.safetensors").write_text(made.name)
    start.episodes("sft").parent.mkdir()
    start.episodes("sft").write_text("played before\n")
    start.episodes("grpo").write_text("played after\n")
    folder = branch_off(dataclasses.replace(config, name="start/reward/paper"), start)
    assert (folder.sft / "model.safetensors").read_text() == "sft"
    assert folder.episodes("sft").read_text() == "played before\n"
    assert not any(there.exists() for there in (folder.policy, folder.checkpoints, folder.episodes("grpo"), folder.rl))
    (folder.sft / "model.safetensors").write_text("of its own")
    assert branch_off(dataclasses.replace(config, name="start/reward/paper"), start).arm == folder.arm
    assert (folder.sft / "model.safetensors").read_text() == "of its own"


def test_an_arm_plays_the_tasks_that_were_chosen_for_its_start(tmp_path: Path) -> None:
    config = Config(runs_dir=str(tmp_path), name="start")
    start = RunFolder.of(config)
    start.sft.mkdir()
    start.rl.write_text("chosen\n")
    assert branch_off(dataclasses.replace(config, name="start/reward/paper"), start).rl.read_text() == "chosen\n"


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scores]:
    episode = dataclasses.replace(make_episode(tmp_path_factory.mktemp("episode")), kind="when")
    wrong = dataclasses.replace(episode, rewards=dataclasses.replace(episode.rewards, accuracy=0.0))
    return {"right": score([episode]), "wrong": score([wrong])}


def test_the_page_compares_each_reward_with_the_paper_s_on_the_same_questions(scores: dict[str, Scores]) -> None:
    config = with_reward(OF_ITS_OWN)
    rewards = rewards_of(config)
    right, wrong = scores["right"], scores["wrong"]
    found: dict[str, list[RewardArm]] = {name: [] for name in rewards}
    for seed, gained in ((0, 0.0), (1, 0.5)):
        found["paper"].append(RewardArm(seed, wrong, wrong, np.full(10, gained)))
        found["own"].append(RewardArm(seed, wrong, right, np.full(10, 1.0)))
    found["gated"].append(RewardArm(0, wrong, right, np.full(10, 0.25)))
    text = page(config, rewards, found)
    assert "| the config's own | 0.5 | 0.15 | 0.05 | 0.3 | right answers |" in text
    assert "| accuracy | 0.8 | 0 | 0 | 0 | - |" in text
    own = next(line for line in text.splitlines() if line.startswith("| the config's own | 2 |"))
    assert "| 100.0 ± 0.0 | +100.0 (+100.0 to +100.0) | +75.0 (" in own
    gated = next(line for line in text.splitlines() if line.startswith("| + parsimony of right answers alone | 1 |"))
    assert "| +25.0 (+25.0 to +25.0) | +25.0 (+25.0 to +25.0) |" in gated, "of seed 0 alone, which both have"
    assert "| 1 | 0.0 | - | - | 0.0 | - | 100.0 |" in text
    machine = json.loads(text.split("```json\n")[1].split("\n```")[0])
    assert machine["accuracy"]["own"] == [1.0, 1.0]
    assert machine["accuracy"]["accuracy"] == []
