"""GRPO from end to end: a tiny policy taught to answer at random learns from its rewards; save, resume, recovery."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.errors import EngineError
from actors.rollout.groups import GroupOrder
from actors.rollout.players import play_all
from configs import Config
from configs.policy import SamplingConfig
from env.task import load_tasks
from learner.activity import Activity
from learner.algorithm import GRPO, GRPOConfig
from learner.checkpoints.export import export_checkpoint
from learner.checkpoints.folder import begin, commit
from learner.ranks.group import RanksError
from learner.training_stopped import TrainingStopped
from tests.models.red_or_blue import shorten, teach, write_tasks
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = Config(seed=1, runs_dir=str(tmp_path_factory.mktemp("runs")))
    shorten(config)
    grpo = config.grpo
    grpo.prompts_per_step, grpo.group_size, grpo.episodes_in_flight, grpo.lr = 2, 6, 12, 1e-3
    return config


@pytest.fixture(scope="module")
def tasks_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("data") / "train.jsonl")


@pytest.fixture(scope="module")
def cluster() -> None:
    shared_ray()


@pytest.fixture(scope="module")
def model_dir(cluster: None, config: Config, tasks_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(config, tasks_file, tmp_path_factory.mktemp("model"))


def build(config: Config, model_dir: Path, tasks_file: Path) -> GRPO:
    settings = GRPOConfig().grpo(
        run=config, model_dir=str(model_dir), tasks_file=str(tasks_file), reference_dir=str(model_dir)
    )
    return settings.build_algo()


def sampled(algorithm: Any) -> list:
    return [
        (group.order.task.id, group.order.seeds, [t.transcript.ids for t in group.trajectories])
        for group in sorted(algorithm.groups, key=lambda group: group.order.id)
    ]


def learned(figures: Any) -> dict[str, float]:
    """The figures of a step that are neither times nor counts of what broke."""
    broken = ("retried_groups", "revived_engines", "rebuilds")
    return {k: v for k, v in figures.items() if "seconds" not in k and "per_s" not in k and k not in broken}


@pytest.fixture(scope="module")
def run(config: Config, model_dir: Path, tasks_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two steps, a checkpoint, and one step more while it is written."""
    algorithm = build(config, model_dir, tasks_file)
    first = [algorithm.train()["grpo"] for _ in range(2)]
    partial = begin(tmp_path_factory.mktemp("checkpoints"), 2)
    finish = algorithm.start_save(partial)
    activities: list[Activity] = []
    algorithm.on_activity = activities.append
    last = algorithm.train()["grpo"]
    assert [a for a in activities if a != "between"] == ["rollout", "score", "update", "publish"]
    finish()
    yield algorithm, first, commit(partial, 2), last, sampled(algorithm)
    algorithm.stop()


def test_each_step_trains_and_publishes(run: Any) -> None:
    algorithm, first, _, last, _ = run
    steps = [*first, last]
    assert [step["version"] for step in steps] == [1, 2, 3]
    assert all(step["grad_norm"] > 0 and step["tokens"] > 0 for step in steps)
    (info,) = algorithm.engines.wait()
    assert info.version == 3


def test_engine_and_learner_agree_on_the_logprobs_after_every_update(run: Any) -> None:
    _, first, _, last, _ = run
    assert all(step["mismatch_kl"] < 1e-6 for step in [*first, last])
    assert all(step["staleness_max"] == 0 for step in [*first, last])


def test_the_metrics_of_a_step_say_how_it_went(run: Any) -> None:
    _, (step, _), _, _, _ = run
    names = """reward accuracy format_reward parsimony_reward tool_calls tool_error_rate parse_rate response_tokens
        entropy kl clip_fraction grad_norm mismatch_kl uniform_groups stale_groups staleness_mean rollout_seconds
        update_seconds publish_seconds rollout_tokens_per_s learner_tokens_per_s"""
    assert all(np.isfinite(step[name]) for name in names.split())
    assert 0 < step["parse_rate"] <= 1


def test_a_resumed_run_goes_on_as_the_saved_one_did(run: Any, tmp_path: Path) -> None:
    _, _, folder, last, expected = run
    resumed = GRPO.from_checkpoint(folder)
    try:
        assert (resumed.version, resumed.iteration) == (2, 2)
        figures = resumed.train()["grpo"]
        assert [row[:2] for row in sampled(resumed)] == [row[:2] for row in expected]
        assert sampled(resumed) == expected
        assert learned(figures) == learned(last), "bit for bit"
    finally:
        resumed.stop()


def test_an_exported_checkpoint_loads_in_an_engine(run: Any, tmp_path: Path) -> None:
    algorithm, _, folder, _, _ = run
    exported = export_checkpoint(folder, tmp_path / "policy")
    [engine] = algorithm.engines.handles
    assert ray.get(engine.load_weights(str(exported), 2)).version == 2
    algorithm._publish()


def test_ranks_that_die_in_a_step_are_replaced_and_the_run_goes_on_as_if_they_had_not(run: Any) -> None:
    algorithm, _, folder, last, expected = run
    group = algorithm.ranks
    wait = group._wait

    def dies(calls: Any, method: Any) -> Any:
        if method == "grpo_step":
            ray.kill(group._ranks[0])
        return wait(calls, method)

    group._wait = dies
    with pytest.raises(RanksError, match="grpo_step: rank 0 died") as error:
        algorithm.train()
    assert not error.value.refused
    algorithm.rebuild(folder)
    assert (algorithm.version, algorithm.training_iteration) == (2, 2)
    figures = algorithm.train()["grpo"]
    assert sampled(algorithm) == expected
    assert learned(figures) == learned(last), "bit for bit"
    assert figures["rebuilds"] == 1
    (info,) = algorithm.engines.wait()
    assert info.version == 3


def test_rollouts_that_fail_are_begun_anew_from_a_checkpoint(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, _, folder, last, expected = run
    handle, rollouts = algorithm.engines.handles[0], algorithm.rollouts
    (runner,) = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    collect = rollouts._collect

    def breaks(version: int) -> None:
        os.kill(runner, signal.SIGSTOP)  # it neither answers nor dies
        os.kill(ray.get(handle.actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        raise EngineError("engine: its process is gone")

    monkeypatch.setattr(rollouts, "_collect", breaks)
    with pytest.raises(EngineError):
        algorithm.train()
    monkeypatch.setattr(rollouts, "_collect", collect)
    ranks = algorithm.ranks
    algorithm.rebuild(folder)
    assert algorithm.ranks is ranks, "they had not failed"
    assert (algorithm.version, algorithm.training_iteration) == (2, 2)
    figures = algorithm.train()["grpo"]
    assert sampled(algorithm) == expected
    assert learned(figures) == learned(last), "bit for bit"
    (again,) = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    assert again != runner


def test_updates_that_are_left_out_keep_the_version_and_too_many_stop_the_run(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = run[0]
    step = algorithm.ranks.grpo_step
    monkeypatch.setattr(
        algorithm.ranks, "grpo_step", lambda played, advantages, lr: step(played, [np.nan] * len(advantages), lr)
    )
    monkeypatch.setattr(algorithm.ranks, "publish", None)
    before = algorithm.version
    figures = [algorithm.train()["grpo"] for _ in range(2)]
    assert [row["bad_updates"] for row in figures] == [1, 1]
    assert [row["version"] for row in figures] == [before, before]
    for name in ("loss", "grad_norm", "mismatch_kl"):
        assert not np.isfinite(figures[-1].get(name, np.nan)), "what an earlier step had is not told again"

    def train_on() -> None:
        for _ in range(8):  # a step without a group to learn from makes no update
            algorithm.train()

    with pytest.raises(TrainingStopped, match=r"3 updates in a row were left out \(grpo.max_bad_updates 3\)"):
        train_on()


def test_a_step_survives_the_death_of_its_engine_and_of_its_env_runner(run: Any) -> None:
    algorithm = run[0]
    handle = algorithm.engines.handles[0]
    os.kill(ray.get(handle.actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
    (runner,) = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    os.kill(runner, signal.SIGKILL)
    before = algorithm.version
    figures = algorithm.train()["grpo"]
    assert figures["version"] >= before
    assert len(algorithm.groups) == 2
    assert {v for g in algorithm.groups for t in g.trajectories for v in t.transcript.versions} == {-1, before}


def test_the_mismatch_gate_stops_the_run_with_a_sentence(run: Any) -> None:
    algorithm = run[0]
    with pytest.raises(TrainingStopped, match="max_mismatch_kl"):
        algorithm._require_agreement({"mismatch_kl": 0.5})


def test_with_a_staleness_bound_the_next_groups_play_while_the_learner_updates(
    config: Config, model_dir: Path, tasks_file: Path
) -> None:
    ahead = replace(config, grpo=replace(config.grpo, max_staleness=1))
    algorithm = build(ahead, model_dir, tasks_file)
    try:
        steps = [algorithm.train()["grpo"] for _ in range(4)]
        ages = [step["staleness_max"] for step in steps]
        assert ages[0] == 0
        assert max(ages) == 1
        assert algorithm.rollouts.ledger.open == config.grpo.prompts_per_step
        assert steps[-1]["version"] > 1
        tasks = load_tasks(tasks_file)
        held_out = [GroupOrder(i, task, (0,), sampling=SamplingConfig(temperature=0.0)) for i, task in enumerate(tasks)]
        version = algorithm.version
        groups = list(play_all(algorithm.players(), held_out, version, 120.0))
        assert sorted(group.order.id for group in groups) == list(range(len(tasks)))
        assert {v for group in groups for t in group.trajectories for v in t.transcript.versions} == {-1, version}
        assert algorithm.rollouts.ledger.open == config.grpo.prompts_per_step, "what training had played is kept"
        assert algorithm.train()["grpo"]["staleness_max"] <= 1
    finally:
        algorithm.stop()


def test_a_step_with_everything_beside_the_papers_objective(config: Config, model_dir: Path, tasks_file: Path) -> None:
    settings: dict[str, Any] = {
        "surrogate": "gspo",
        "aggregation": "token_mean",
        "advantage": "leave_one_out",
        "mini_batches": 2,
        "old_logprobs": "learner",
        "correction": "sequence",
        "max_sequence_gap": 0.1,
        "kl_in": "reward",
        "kl_estimator": "k1",
        "entropy_coef": 1e-3,
        "overlong_buffer": 50,
        "mask_overlong": True,
        "dynamic_sampling": True,
        "max_prompt_batches": 4,
    }
    algorithm = build(replace(config, grpo=replace(config.grpo, **settings)), model_dir, tasks_file)
    try:
        steps = [algorithm.train()["grpo"] for _ in range(2)]
    finally:
        algorithm.stop()
    wanted = config.grpo.prompts_per_step
    for step in steps:
        assert step["groups"] == wanted or step["prompts_tried"] == 4 * wanted
        assert step["prompts_tried"] == step["groups"] + step["uniform_groups"] + step["stale_groups"]
        assert step["correction"] == pytest.approx(1.0, abs=1e-3), "engine and learner agree"
        assert step["gap_masked"] == 0.0
        assert step["updates"] == 2
    assert abs(steps[0]["kl"]) < 1e-4, "the policy still is the reference"
    assert abs(steps[1]["kl"]) > 1e-4
