"""Real DeepSpeed ranks as Ray actors: one against two, exact resume, other layouts, export, publishing, failure."""

import copy
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from actors.engine.handle import EngineHandle
from configs import Config, load_config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.checkpoints.export import export_checkpoint
from learner.checkpoints.folder import CheckpointError, begin, commit
from learner.model.batch import collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.scorer import Scorer
from learner.ranks.group import RankGroup, RanksError
from learner.sft import WATCHED, run_sft
from learner.weights.engines import PublishError
from tests.learner.stand_ins import HoldingEngine
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
LR = 1e-3


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "seconds" not in name}


ADVANTAGES = (1.0, -1.0, 0.5, -0.5, 0.0, 2.0)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    shared_ray()


def make_config(*overrides: str) -> Config:
    base = ["ranks.micro_batch_tokens=250", "grpo.kl_coef=0.1", "ranks.step_timeout_s=240"]
    return load_config(None, [*base, "grpo.mini_batches=2", "grpo.prompts_per_step=4", *overrides])


@pytest.fixture(scope="module")
def single(model_dir: Path, cluster: None) -> Iterator[RankGroup]:
    group = RankGroup(make_config(), str(model_dir), str(model_dir))
    yield group
    group.close()


@pytest.fixture(scope="module", params=[0, 3], ids=["stage0", "stage3"])
def pair(request: pytest.FixtureRequest, model_dir: Path, cluster: None) -> Iterator[RankGroup]:
    config = make_config("ranks.ranks=2", f"ranks.zero_stage={request.param}")
    group = RankGroup(config, str(model_dir), str(model_dir))
    yield group
    group.close()


def two_steps(group: RankGroup, trajectories: list[Trajectory], folder: Path) -> Any:
    supervised = group.sft_step(trajectories, LR)
    reinforced = group.grpo_step(trajectories, ADVANTAGES, LR)
    return supervised, reinforced, load_file(group.export(folder) / "model.safetensors")


@pytest.fixture(scope="module")
def alone(single: RankGroup, trajectories: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two steps of a single rank from the initial weights: metrics, metrics, weights."""
    return two_steps(single, trajectories, tmp_path_factory.mktemp("single") / "policy")


def test_metrics_are_those_of_the_losses(
    alone: Any, trajectories: list[Trajectory], model_dir: Path, processor: Any, patches: FramePatches, chat: ChatFormat
) -> None:
    supervised, reinforced, _ = alone
    scorer = Scorer.from_pretrained(
        str(model_dir), torch.float32, Normalise(processor.image_processor), chat.banned_ids
    )
    logprobs, entropy = scorer(collate(trajectories, None, patches, chat))
    (-logprobs.mean()).backward()
    norm = torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
    assert supervised["loss"] == pytest.approx(-float(logprobs.detach().mean()), rel=1e-5)
    assert supervised["entropy"] == pytest.approx(float(entropy.mean()), rel=1e-5)
    assert supervised["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    assert supervised["tokens"] == reinforced["tokens"] == len(logprobs)
    assert reinforced["updates"] == 2
    assert reinforced["kl"] > 0
    assert 0 < reinforced["mismatch_tokens"] < reinforced["tokens"], "mismatch is measured before the first update"
    assert reinforced["seconds"] > 0


def test_an_exported_policy_loads_as_any_checkpoint(
    alone: Any, single: RankGroup, tmp_path: Path, model_dir: Path
) -> None:
    folder = single.export(tmp_path / "policy")
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    first = load_file(Path(model_dir) / "model.safetensors")
    assert weights.keys() == first.keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
    assert not torch.equal(weights["model.language_model.norm.weight"], first["model.language_model.norm.weight"])
    ours, theirs = (AutoProcessor.from_pretrained(path) for path in (folder, model_dir))
    assert ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()
    assert ours.chat_template == theirs.chat_template
    assert not list(tmp_path.glob("*.partial"))


def test_two_ranks_give_the_weights_of_one(
    pair: RankGroup, alone: Any, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    supervised, reinforced, weights = two_steps(pair, trajectories, tmp_path / "policy")
    for ours, theirs in ((supervised, alone[0]), (reinforced, alone[1])):
        ours, theirs = timeless(ours), timeless(theirs)
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-5)
    # Adam steps by the gradient's sign where it is all rounding, such as that of a key's bias.
    moved = torch.cat([(weights[name] - alone[2][name]).abs().flatten() for name in weights])
    assert float((moved > 0.05 * LR).float().mean()) < 0.02
    assert float(moved.median()) < 1e-3 * LR


def test_a_learner_resumed_from_what_was_written_beside_its_steps_goes_on_bit_for_bit(
    single: RankGroup, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    single.version = 7
    finish = single.start_save(tmp_path / "ranks")
    _, metrics, went_on = two_steps(single, trajectories, tmp_path / "went-on")
    finish()
    single.version = 0
    single.load(tmp_path / "ranks")
    assert single.version == 7
    _, again, resumed = two_steps(single, trajectories, tmp_path / "resumed")
    assert all(torch.equal(went_on[name], resumed[name]) for name in went_on)
    assert timeless(again) == timeless(metrics)
    assert metrics["mismatch_tokens"] == 0, "no token was sampled by version 7"


def test_a_sharded_learner_resumes_too(pair: RankGroup, trajectories: list[Trajectory], tmp_path: Path) -> None:
    pair.save(tmp_path / "ranks")
    *_, went_on = two_steps(pair, trajectories, tmp_path / "went-on")
    pair.load(tmp_path / "ranks")
    *_, resumed = two_steps(pair, trajectories, tmp_path / "resumed")
    assert all(torch.equal(went_on[name], resumed[name]) for name in went_on)


@pytest.fixture(scope="module")
def other(pair: RankGroup, single: RankGroup, cluster: None, model_dir: Path) -> Iterator[RankGroup]:
    """One rank: of stage 0 beside a pair of stage 0, of stage 1 beside a pair of stage 3."""
    if pair.config.ranks.zero_stage == 0:
        yield single
        return
    group = RankGroup(make_config("ranks.zero_stage=1"), str(model_dir), str(model_dir))
    yield group
    group.close()


def test_a_checkpoint_fits_another_number_of_ranks_and_another_zero_stage(
    pair: RankGroup, other: RankGroup, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    pair.sft_step(trajectories, LR)
    other.sft_step(trajectories, LR / 2)
    for name, source, target in (("fewer", pair, other), ("more", other, pair)):
        source.save(tmp_path / name)
        *theirs, went_on = two_steps(source, trajectories, tmp_path / f"{name}-went-on")
        target.load(tmp_path / name)
        *ours, resumed = two_steps(target, trajectories, tmp_path / f"{name}-resumed")
        for mine, its in zip(ours, theirs, strict=True):
            assert timeless(mine) == pytest.approx(timeless(its), rel=2e-3, abs=1e-5)
        moved = torch.cat([(resumed[weight] - went_on[weight]).abs().flatten() for weight in resumed])
        assert float(moved.median()) < 1e-3 * LR
        assert float((moved > 0.05 * LR).float().mean()) < 0.02
        assert not list((tmp_path / name).glob("universal-*"))


def test_a_checkpoint_that_does_not_fit_is_refused_with_what_to_do(
    single: RankGroup, pair: RankGroup, tmp_path: Path
) -> None:
    pair.save(tmp_path / "ranks")
    dtype, stage = "float32", pair.config.ranks.zero_stage
    if stage == 0:
        dtype, manifest = "bfloat16", tmp_path / "ranks" / "ranks.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "dtype": dtype}))
    with pytest.raises(ValueError, match=f"run with ranks.dtype={dtype}, ranks.zero_stage={stage}"):
        single.load(tmp_path / "ranks")


def test_a_checkpoint_is_exported_from_its_files_alone(pair: RankGroup, model_dir: Path, tmp_path: Path) -> None:
    partial = begin(tmp_path, 1)
    pair.save(partial / "ranks")
    commit(partial, 1)
    folder = export_checkpoint(tmp_path / "step-000001", tmp_path / "exported")
    expected = pair.export(tmp_path / "policy")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in expected.iterdir())
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    layout = tmp_path / "step-000001" / "ranks" / "ranks.json"
    moved = layout.read_text().replace(str(model_dir), "/moved/away")
    layout.write_text(moved + " " * (layout.stat().st_size - len(moved)))
    with pytest.raises(CheckpointError, match=r"/moved/away.*--model"):
        export_checkpoint(tmp_path / "step-000001", tmp_path / "again")
    export_checkpoint(tmp_path / "step-000001", tmp_path / "again", str(model_dir))


def write_into(rank: Any, folder: str) -> None:
    tempfile.tempdir = folder


def test_engines_get_the_weights(single: RankGroup, tmp_path: Path) -> None:
    engines = [EngineHandle(ray.remote(HoldingEngine).options(num_cpus=0).remote()) for _ in range(2)]
    ray.get(single._ranks[0].__ray_call__.remote(write_into, str(tmp_path)))
    report = single.publish(engines, 8)
    assert report["seconds"] > 0
    assert single.version == 8
    expected = load_file(single.export(tmp_path / "policy") / "model.safetensors")
    for engine in engines:
        held = ray.get(engine.actor.held.remote())
        assert all(torch.equal(held[name], expected[name]) for name in expected)
    assert report["parameters"] == len(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["policy"], "what was written was to be removed"


def test_an_engine_that_fails_is_named(single: RankGroup) -> None:
    engines = [EngineHandle(ray.remote(HoldingEngine).options(num_cpus=0).remote(fails)) for fails in (False, True)]
    with pytest.raises(PublishError, match=r"version 9.*engine 1.*out of memory") as error:
        single.publish(engines, 9)
    assert list(error.value.failed) == [1]
    assert ray.get(engines[0].actor.held.remote())


def test_a_rank_that_fails_ends_the_group(pair: RankGroup, trajectories: list[Trajectory]) -> None:
    started = time.monotonic()
    if pair.config.ranks.zero_stage == 0:
        broken = copy.deepcopy(trajectories)
        broken[0].transcript.media.pop()
        with pytest.raises(RanksError, match=r"sft_step: rank \d raised ValueError: task task-0: its frames") as error:
            pair.sft_step(broken, LR)
        assert error.value.refused, "other ranks would raise it too"
    else:
        ray.kill(pair._ranks[1])
        with pytest.raises(RanksError, match=r"sft_step: rank (1 died|0 raised RuntimeError)") as error:
            pair.sft_step(trajectories, LR)
        assert not error.value.refused
    assert time.monotonic() - started < 120, "the other rank waits in a collective and was to be killed"
    with pytest.raises(RanksError, match="closed"):
        pair.sft_step(trajectories, LR)


def test_a_deadline_ends_the_group(
    single: RankGroup, trajectories: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single, "_timeout_s", 0.0)
    with pytest.raises(RanksError, match="sft_step: rank 0 missed the deadline"):
        single.sft_step(trajectories, LR)


EARLY = "sft.curriculum=[{{steps: 60, until: 99.0, lessons: {{{0}: 2}}}}, {{steps: 4, lessons: {{{0}: 1}}}}]"
"""A stage that ends as soon as it may, and one more."""


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (["sft.steps=4", "sft.batch=3"], [1, 2, 3, 4]),
        ([EARLY], [*range(1, WATCHED + 1), 61, 62, 63, 64]),
    ],
)
def test_supervised_training_that_was_stopped_goes_on_bit_for_bit(
    settings: list[str], steps: list[int], model_dir: Path, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    trajectories = [replace(trajectory, dimension="kind") for trajectory in trajectories]
    config = make_config(*(setting.format("kind") for setting in settings), "sft.checkpoint_every=2")
    whole, parts = [], []
    expected = run_sft(config, trajectories, model_dir, tmp_path / "whole", lambda *row: whole.append(row))

    def stops(step: Any, metrics: Any) -> None:
        parts.append((step, metrics))
        if step == 3:
            raise KeyboardInterrupt

    checkpoints = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        run_sft(config, trajectories, model_dir, tmp_path / "parts", stops, checkpoints)
    parts = parts[:2]
    found = run_sft(config, trajectories, model_dir, tmp_path / "parts", lambda *row: parts.append(row), checkpoints)
    assert [step for step, _ in whole] == steps
    assert [(step, row["loss"]) for step, row in parts] == [(step, row["loss"]) for step, row in whole]
    assert (found / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()


def test_supervised_training_learns_and_exports(
    model_dir: Path, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    config = make_config("sft.steps=12", "sft.batch=4", "sft.lr=0.01")
    losses: list[float] = []
    out = run_sft(config, trajectories, model_dir, tmp_path / "sft", lambda step, m: losses.append(m["loss"]))
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]
    assert (out / "config.json").exists()
