"""What a plan says, what it refuses, and that its advice is good."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs import load_config
from configs.policy import ModelConfig
from configs.run import Config
from configs.training import LEAST_STAGE
from learner.model.sizes import ModelShape, shape_of
from learner.planning.advice import PlanError, advise, require_fit, with_values
from learner.planning.memory import GIB
from learner.planning.plan import USABLE, Machine, Phase, make_plan

SHAPES = {size: shape_of(ModelConfig(path=f"Qwen/Qwen3-VL-{size}-Instruct")) for size in ("2B", "4B", "8B", "32B")}
TINY = shape_of(ModelConfig())
NODE = Machine(80 * GIB, 16 * GIB)
PAPER = load_config("configs/paper_4b.yaml")


def test_work_is_counted() -> None:
    plan = make_plan(PAPER, SHAPES["4B"], NODE, "grpo", tasks=4100, lessons=34_200)
    sft, grpo = plan.work
    assert (grpo.trajectories, grpo.tokens, grpo.updates) == (256, 256 * 36_864, 4)
    assert grpo.epochs == pytest.approx(1, abs=0.01)
    assert sft.epochs == pytest.approx(1, abs=0.01)
    assert make_plan(PAPER, SHAPES["4B"], NODE, "sft").work[0].epochs is None


def test_parts_add_up_and_the_reference_belongs_to_grpo() -> None:
    sft, grpo = (make_plan(PAPER, SHAPES["4B"], NODE, stage).roles for stage in ("sft", "grpo"))
    assert [role.count for role in grpo] == [4, 4]
    assert grpo[0].need - sft[0].need == 2 * SHAPES["4B"].parameters
    assert grpo[0].limit == round(USABLE * 80 * GIB)
    parts = dict(grpo[1].parts)
    assert grpo[1].sequences == parts["KV cache"] // (36_864 * 36 * 4 * 8 * 128)


def test_with_an_adapter_there_is_no_second_model() -> None:
    adapted = with_values(PAPER, {"ranks.lora.rank": 16})
    plan = make_plan(adapted, SHAPES["4B"], NODE, "grpo")
    assert "reference" not in dict(plan.roles[0].parts)
    # Of q, k, v, o: widths 2560 and 4096 or 1024; of the MLP: 2560 and 9728; in 36 layers.
    assert plan.trained == 16 * 36 * (2 * (2560 + 4096) + 2 * (2560 + 1024) + 3 * (2560 + 9728))


def test_an_engine_beside_a_rank_shares_its_gpu() -> None:
    together = with_values(PAPER, {"engine.colocate": True, "engine.gpu_memory_utilization": 0.2})
    plan = make_plan(together, SHAPES["4B"], NODE, "grpo")
    assert plan.gpus == 4
    assert [role.limit for role in plan.roles] == [round(0.7 * 80 * GIB), round(0.2 * 80 * GIB)]
    assert make_plan(together, SHAPES["4B"], NODE, "sft").roles[0].limit == round(0.9 * 80 * GIB)
    assert advise(with_values(PAPER, {"engine.colocate": True}), SHAPES["2B"], NODE, "grpo") == {
        "engine.gpu_memory_utilization": 0.5
    }


def test_what_is_offloaded_is_told_of_the_host() -> None:
    kept, moved = (
        make_plan(with_values(PAPER, {"ranks.offload": offload}), SHAPES["4B"], NODE, "sft").roles[0]
        for offload in ("none", "optimizer")
    )
    parts, host = dict(moved.parts), dict(moved.host)
    assert parts["optimizer"] == parts["gradients"] == 0
    assert host["offloaded"] > dict(kept.parts)["optimizer"]
    assert "offloaded" not in dict(kept.host)
    on_cpu = with_values(PAPER, {"ranks.offload": "optimizer", "ranks.gpus_per_rank": 0})
    assert dict(make_plan(on_cpu, SHAPES["4B"], NODE, "sft").roles[0].parts)["offloaded"] == host["offloaded"]


@pytest.mark.parametrize("name", ["demo", "smoke"])
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_the_small_ones_fit_a_laptop(name: str, stage: Phase) -> None:
    assert make_plan(load_config(f"configs/{name}.yaml"), TINY, NODE, stage).problems == ()


@pytest.mark.parametrize(
    ("size", "overrides", "said"),
    [
        ("4B", ["ranks.gradient_checkpointing=false"], "it fits with ranks.gradient_checkpointing=true"),
        ("4B", ["ranks.micro_batch_tokens=131072"], "it fits with ranks.micro_batch_tokens="),
        ("8B", [], "a learner rank on a GPU needs"),
        ("8B", ["ranks.ranks=6"], "it fits with ranks.zero_stage=3"),
        ("4B", ["engine.gpu_memory_utilization=0.2"], "it fits with engine.gpu_memory_utilization=0.9"),
        ("8B", ["ranks.zero_stage=3"], "it fits with ranks.offload=optimizer"),
        # Each rank holds the whole reference, until an adapter makes it needless.
        ("32B", [], "it fits with ranks.zero_stage=3 engine.gpus_per_engine=2 ranks.lora.rank=16"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_to_turn(size: str, overrides: list[str], said: str) -> None:
    config = load_config("configs/paper_4b.yaml", overrides)
    with pytest.raises(PlanError) as refused:
        require_fit(config, SHAPES[size], make_plan(config, SHAPES[size], NODE, "grpo"), "grpo")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_small_machine_is_told_too() -> None:
    config = load_config("configs/demo.yaml")
    machine = replace(NODE, ram_bytes=9 * GIB // 2)
    with pytest.raises(
        PlanError, match=r"what runs on the CPU needs .* it fits with .*ranks\.frame_cache_mib=.* engine\.engines=1"
    ):
        require_fit(config, TINY, make_plan(config, TINY, machine, "grpo"), "grpo")
    nothing = replace(NODE, ram_bytes=GIB)
    with pytest.raises(PlanError, match="no setting makes it fit"):
        require_fit(config, TINY, make_plan(config, TINY, nothing, "grpo"), "grpo")


def test_a_cache_without_room_for_one_sequence_is_refused() -> None:
    config = load_config("configs/demo.yaml", ["model.path=x", "engine.max_model_len=65536"])
    large = replace(NODE, ram_bytes=10_000 * GIB)
    assert advise(config, SHAPES["2B"], large, "grpo") == {"engine.kv_cache_gib": 14}


@settings(max_examples=30)
@given(
    size=st.sampled_from(sorted(SHAPES)),
    gpu_gib=st.sampled_from([16, 24, 40, 80, 141]),
    values=st.fixed_dictionaries(
        {
            "ranks.ranks": st.integers(1, 16),
            "ranks.zero_stage": st.integers(0, 3),
            "ranks.dtype": st.sampled_from(["float32", "bfloat16"]),
            "ranks.gradient_checkpointing": st.booleans(),
            "ranks.train": st.sampled_from([["language", "projector"], ["projector", "vision"]]),
            "ranks.offload": st.sampled_from(["none", "optimizer", "all"]),
            "ranks.lora.rank": st.sampled_from([0, 8]),
            "ranks.micro_batch_tokens": st.integers(1, 2**18),
            "episode.max_tokens": st.integers(1024, 2**17),
            "engine.max_model_len": st.integers(1024, 2**17),
            "engine.gpus_per_engine": st.sampled_from([1, 2, 4]),
            "engine.colocate": st.booleans(),
            "engine.max_num_batched_tokens": st.integers(512, 2**15),
        }
    ),
)
def test_following_the_advice_makes_it_fit(size: Any, gpu_gib: Any, values: Any) -> None:
    assume(values["ranks.zero_stage"] >= LEAST_STAGE[values["ranks.offload"]])
    assume(not values["engine.colocate"] or values["engine.gpus_per_engine"] == 1)
    config = with_values(PAPER, values)
    machine = Machine(gpu_gib * GIB, 16 * GIB)
    before = make_plan(config, SHAPES[size], machine, "grpo")
    changes = advise(config, SHAPES[size], machine, "grpo")
    assert (changes == {}) == (not before.problems)
    assume(changes)
    assert changes is not None
    assert runs(with_values(config, changes), SHAPES[size], machine)
    for key in changes:
        fewer = {other: value for other, value in changes.items() if other != key}
        assert not runs(with_values(config, fewer), SHAPES[size], machine), f"{key} is not needed"


def runs(config: Config, shape: ModelShape, machine: Machine) -> bool:
    """Whether it fits, and its offload goes with its stage of ZeRO."""
    allowed = config.ranks.zero_stage >= LEAST_STAGE[config.ranks.offload]
    return allowed and not make_plan(config, shape, machine, "grpo").problems


def test_frames_that_leave_no_room_to_answer_are_noted() -> None:
    short = with_values(PAPER, {"episode.max_tokens": 20_480})
    [note] = make_plan(short, SHAPES["4B"], NODE, "grpo").notes
    assert "more than 172 frames" in note
    long = with_values(PAPER, {"engine.max_model_len": 8192})
    [note] = make_plan(long, SHAPES["4B"], NODE, "grpo").notes
    assert "engine.max_model_len = 8192" in note
