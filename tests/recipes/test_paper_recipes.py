"""The recipes of the paper: its figures, the cluster they are for, and that they fit it."""

from pathlib import Path

import pytest
import yaml

from configs import load_config
from configs.run import Config
from learner.model.sizes import shape_of
from learner.planning.memory import GIB
from learner.planning.plan import Machine, Phase, make_plan

ROOT = Path(__file__).parents[2]
RECIPES = ("paper_4b", "paper_8b")
MACHINE = Machine(gpu_bytes=81_559 * 2**20, ram_bytes=1152 * GIB)
"""What nvidia-smi says of an A100 or H100 of 80 GB, and the memory of a p4de.24xlarge."""


@pytest.fixture(params=RECIPES)
def config(request: pytest.FixtureRequest) -> Config:
    return load_config(ROOT / "configs" / f"{request.param}.yaml")


def test_the_figures_are_the_papers(config: Config) -> None:
    episode, sft, grpo, reward = config.episode, config.sft, config.grpo, config.episode.reward
    assert (
        config.model.path
        == {
            "paper_4b": "Qwen/Qwen3-VL-4B-Instruct",
            "paper_8b": "Qwen/Qwen3-VL-8B-Instruct",
        }[config.name]
    )
    assert (episode.prompt_fps, episode.prompt_max_frames, episode.prompt_max_pixels) == (1.0, 256, 112_896)
    assert (episode.max_tool_rounds, episode.max_turn_tokens) == (5, 4096)
    assert episode.tools == ["view_visual_prompt", "crop_video"]
    assert (reward.alpha, reward.beta, reward.gamma) == (0.8, 0.15, 0.05)
    assert (sft.lr, sft.warmup) == (1e-5, 0.1)
    assert sft.batch == 8 * 1 * 2  # GPUs x batch a device x accumulation
    assert sft.steps == -(-34_200 // sft.batch)  # one epoch
    assert config.ranks.train == ["language", "projector"]
    assert (grpo.group_size, grpo.prompts_per_step, grpo.mini_batches) == (8, 32, 32 // 8)
    assert (grpo.lr, grpo.kl_coef) == (1e-6, 0.001)
    assert grpo.steps == 4100 // grpo.prompts_per_step  # one epoch
    assert config.teacher.model.model == "Qwen/Qwen3-VL-235B-A22B-Thinking"
    assert config.synth.masks.fps == 1.0
    assert config.difficulty.attempts == 8


def test_a_prompt_has_room_for_all_the_papers_frames_and_a_response(config: Config) -> None:
    """The paper's 256 frames are 128 pairs of at most 110 tokens, within its 16384; ours are single."""
    plan = make_plan(config, shape_of(config.model), MACHINE, "grpo")
    assert plan.notes == ()
    assert config.episode.max_tokens == 2 * 16_384 + 4096
    assert config.engine.max_model_len == config.episode.max_tokens == config.ranks.micro_batch_tokens


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_they_fit_eight_gpus_of_80_gb(config: Config, stage: Phase) -> None:
    plan = make_plan(config, shape_of(config.model), MACHINE, stage)
    assert plan.problems == ()
    assert plan.gpus <= 8
    rank = plan.roles[0]
    assert rank.need < 0.8 * rank.limit, "the plan is arithmetic: leave room for what it does not know"


def test_one_worker_of_the_cluster_file_holds_them(config: Config) -> None:
    worker = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())["available_node_types"]["gpu_worker"]
    assert worker["node_config"]["InstanceType"] == "p4de.24xlarge"  # eight A100 of 80 GB
    plan = make_plan(config, shape_of(config.model), MACHINE, "grpo")
    assert plan.gpus == worker["resources"]["GPU"]
    cpus = config.ranks.ranks * config.ranks.cpus_per_rank + config.engine.engines + config.grpo.env_runners
    assert cpus <= worker["resources"]["CPU"]
    assert sum(role.count * size for role in plan.roles for _, size in role.host) < MACHINE.ram_bytes / 2


def test_the_two_differ_only_in_the_model_and_where_it_runs() -> None:
    small, large = (yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()) for name in RECIPES)
    differ = {
        (section, key)
        for section, value in small.items()
        if isinstance(value, dict)
        for key in value.keys() | large[section].keys()
        if value.get(key) != large[section].get(key)
    }
    assert differ == {
        ("model", "path"),
        ("grpo", "rollout_timeout_s"),
        ("ranks", "zero_stage"),
        ("ranks", "offload"),
    }
