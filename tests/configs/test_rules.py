"""The recipes of the documentation, and settings that contradict each other."""

import re
from pathlib import Path
from typing import Any

import pytest

from configs import ConfigError, load_config, to_yaml
from configs.rules import RULES, check
from configs.training import GrpoConfig

TEXT = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text()
RECIPES = dict(re.findall(r"^### (\w+)\n.*?^```yaml\n(.*?)^```", TEXT, re.M | re.S))


def test_all_recipes_are_found() -> None:
    assert set(RECIPES) == {"dapo", "dr_grpo", "gspo", "cispo", "rloo", "tis"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_loads_and_its_settings_go_together(name: str, tmp_path: Path) -> None:
    path, dump = tmp_path / "recipe.yaml", tmp_path / "dump.yaml"
    path.write_text(RECIPES[name])
    config = load_config(path)
    dump.write_text(to_yaml(config))
    assert load_config(dump) == config
    assert config.grpo != GrpoConfig()
    check(config, "grpo")


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("dapo", {"clip": 0.2, "clip_high": 0.28, "group_size": 16, "prompts_per_step": 512, "kl_coef": 0.0}),
        ("dr_grpo", {"norm_tokens": 3000, "group_size": 8, "kl_coef": 0.0, "lr": 1e-6}),
        ("gspo", {"clip": 3e-4, "clip_high": 4e-4, "mini_batches": 4, "kl_coef": 0.0}),
        ("cispo", {"clip": 1.0, "mini_batches": 16, "kl_coef": 0.0}),
        ("rloo", {"kl_coef": 0.03, "lr": 1e-6, "group_size": 4}),
        ("tis", {"correction_max": 2.0}),
    ],
)
def test_a_recipe_has_the_published_figures(name: str, published: dict[str, float], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPES[name])
    grpo = load_config(path).grpo
    assert {key: getattr(grpo, key) for key in published} == published


def test_the_documentation_names_every_setting_of_the_objective() -> None:
    others = {"steps", "weight_decay", "max_grad_norm", "max_staleness", "max_mismatch_kl", "env_runners"}
    others |= {"episodes_in_flight", "rollout_timeout_s", "checkpoint_every", "keep_checkpoints"}
    others |= {"async_checkpoints", "best_metric", "max_bad_updates", "max_rebuilds", "rebuild_window"}
    keys = set(GrpoConfig.__dataclass_fields__) - others
    assert {key for key in keys if not re.search(rf"\b{key}\b", TEXT)} == set()


CONTRADICTIONS = [
    ("synth", ["synth.source=a", "synth.gpus_per_segmenter=0.5"], "synth.segmenter=motion has no use for it"),
    ("synth", ["synth.gpus_per_segmenter=1.5"], "synth.gpus_per_segmenter must be at most 1, not 1.5"),
    ("grpo", ["grpo.correction=token"], "set grpo.old_logprobs=learner"),
    ("grpo", ["grpo.max_sequence_gap=0.1"], "set grpo.old_logprobs=learner"),
    ("grpo", ["grpo.dual_clip=0.5"], "grpo.dual_clip must be above 1"),
    ("grpo", ["grpo.dual_clip=3.0", "grpo.surrogate=cispo"], "is for grpo.surrogate=clip or gspo"),
    ("grpo", ["grpo.dynamic_sampling=true", "grpo.drop_uniform_groups=false"], "set that too"),
    ("grpo", ["grpo.best_metric=-eval_reward"], "is taken by no step with eval.every=0"),
    ("grpo", ["grpo.best_metric=eval_acuracy", "eval.every=10"], "no such look at the held-out questions; there are"),
    ("grpo", ["grpo.best_metric=eval_found", "eval.every=15"], "set eval.every to a multiple of grpo.checkpoint_every"),
    ("eval", ["eval.mark_kind=cross"], "eval.mark_kind: no kind 'cross'"),
    ("eval", ["episode.reasoning=false"], "who answers directly has no tools"),
    ("eval", ["episode.max_frames=8", "episode.prompt_max_frames=9"], "is more than episode.max_frames=8"),
    ("grpo", ["grpo.advantage=leave_one_out", "grpo.group_size=1"], "grpo.group_size must be at least 2"),
    ("grpo", ["grpo.correction_max=0.5", "grpo.correction_min=0.8"], "grpo.correction_max"),
    ("grpo", ["grpo.keep_checkpoints=0"], "grpo.keep_checkpoints must be at least 1, not 0"),
    ("grpo", ["grpo.norm_tokens=0"], "grpo.norm_tokens must be at least 1, not 0"),
    ("grpo", ["grpo.clip_high=-0.1"], "grpo.clip_high must be at least 0, not -0.1"),
    ("grpo", ["grpo.env_runners=0"], "grpo.env_runners must be at least 1, not 0"),
    ("grpo", ["sampling.top_p=0.9"], "training needs sampling.top_p 1"),
    ("ranks", ["ranks.train=[]"], "ranks.train is empty"),
    ("ranks", ["ranks.offload=all", "ranks.zero_stage=2"], "ranks.offload=all needs ranks.zero_stage >= 3, not 2"),
    ("ranks", ["engine.lora_rank=8"], "ranks.lora.rank must be 1 to 8, not 0"),
    ("ranks", ["engine.lora_rank=8", "ranks.lora.rank=8", "ranks.transport=shared_memory"], "leave ranks.transport"),
    ("ranks", ["engine.lora_rank=8", "ranks.lora.rank=8", "ranks.lora.targets=[qkv]"], "on the language model alone"),
    ("ranks", ["ranks.transport=nccl"], "takes ranks and engines on GPUs"),
    ("ranks", ["engine.colocate=true"], "engine.colocate puts engines on the ranks' GPUs"),
    ("ranks", ["ranks.transport=shared_memory", "ranks.weights_dir=w"], "ranks.weights_dir does nothing"),
    ("sft", ["captions.curriculum=[{steps: 5, lessons: {words: 0}}]"], "captions.curriculum[0]: takes steps"),
    ("sft", ["sft.curriculum=[{steps: 5, passes: 0, lessons: {words: 1}}]"], "sft.curriculum[0].passes=0: takes more"),
    ("sft", ["captions.curriculum=[{steps: 5, until: -1, lessons: {words: 1}}]"], "captions.curriculum[0].until=-1:"),
    ("sft", ["sft.curriculum=[{steps: 5, until: .nan, lessons: {words: 1}}]"], "sft.curriculum[0].until=nan: takes"),
    ("sft", ["sft.curriculum=[{steps: 5, lessons: {wat: 1}}]"], "sft.curriculum[0].lessons: no kind 'wat'; there are"),
    ("sft", ["episode.tools=[]", "sft.curriculum=[{steps: 5, lessons: {exercise: 1}}]"], "teach nothing without crop"),
    ("sft", ["captions.curriculum=[{steps: 5, lessons: {episode: 1}}]"], "captions.curriculum[0].lessons: no kind"),
    ("sft", ["teacher.hasty={rectangel: 0.9}"], "teacher.hasty: no kind 'rectangel'; there are"),
    ("sft", ["teacher.hasty={rectangle: 7}"], "teacher.hasty.rectangle=7: a chance is 0 to 1"),
    ("sft", ["teacher.hasty={rectangle: .nan}"], "teacher.hasty.rectangle=nan: a chance is 0 to 1"),
    ("synth", ["world.kinds=[]"], "world.kinds: is empty; there are"),
    ("synth", ["world.prompt_kinds=[]"], "world.prompt_kinds: is empty; there are"),
    ("synth", ["world.min_duration_s=50"], "world.min_duration_s=50 is more than world.max_duration_s=40"),
    ("synth", ["world.min_instances=4", "world.max_instances=2"], "world.min_instances=4 is more than world.max"),
    ("eval", ["episode.reward.function='json:dumps'"], "'json:dumps' is no function of (config, task, answer"),
    ("sft", ["sft.checkpoint_every=0"], "sft.checkpoint_every must be at least 1, not 0"),
    ("sft", ["teacher.player=model"], "teacher.model.model: is empty"),
    ("sft", ["teacher.player=model", "teacher.model.model=m", "teacher.model.base_url=host"], "teacher.model.base_url"),
    ("eval", ["episode.tools=[crop_vido]"], "episode.tools: no tool 'crop_vido'; there are view_visual_prompt"),
    ("synth", ["world.kinds=[colour]"], "world.kinds: no kind 'colour'"),
    ("synth", ["synth.prompt_kinds=[star]"], "synth.prompt_kinds: no kind 'star'"),
    ("synth", ["synth.test_fraction=1.5"], "synth.test_fraction must be at most 1, not 1.5"),
    ("synth", ["synth.source=x", "synth.segmenter=''"], "synth.segmenter: is empty"),
    ("synth", ["synth.mixing.films=9"], "synth.mixing: makes new films of those of synth.source"),
    ("synth", ["synth.source=x", "synth.rewriter=model"], "synth.text_model.model: is empty"),
    (
        "synth",
        ["synth.source=x", "synth.video_model.model=m", "synth.video_model.budget_usd=1"],
        "synth.video_model.budget_usd: says nothing",
    ),
    ("difficulty", ["difficulty.low=0.8", "difficulty.high=0.2"], "a band needs 0 <= low < high <= 1"),
    ("sft", ["sft.steps=5", "sft.curriculum=[{steps: 60, lessons: {episode: 4}}]"], "sft.steps=5: says nothing beside"),
    ("ablation", ["ablation.options=[1]"], "ablation.options: give numbers of at least 2 options, not [1]"),
    (
        "ablation",
        ["ablation.seeds=[1,1]"],
        "ablation.seeds: give different numbers from 0 to 2,147,483,647, not [1, 1]",
    ),
    ("ablation", ["ablation.seeds=[]"], "ablation.seeds: give different numbers from 0 to 2,147,483,647, not []"),
    ("ablation", ["ablation.seeds=[99999999999]"], "ablation.seeds: give different numbers from 0 to"),
    ("synth", ["name="], "name: '' is no name of a folder below runs_dir"),
    ("grpo", ["name=../up"], "name: '../up' is no name of a folder below runs_dir"),
    ("eval", ["name=/tmp"], "name: '/tmp' is no name of a folder below runs_dir"),
    ("serve", ["serve.replicas=0"], "serve.replicas must be at least 1, not 0"),
]
"""Of a phase: settings that contradict each other, and part of what is said of them."""


@pytest.mark.parametrize(("phase", "overrides", "sentence"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused_with_their_keys(
    phase: Any, overrides: Any, sentence: Any
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as raised:
        check(load_config(None, overrides), phase)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("phase", RULES)
@pytest.mark.parametrize("name", [None, "demo", "footage", "smoke", "paper_4b", "paper_8b"])
def test_what_ships_contradicts_itself_nowhere(phase: Any, name: Any) -> None:
    source = ["synth.source=films"] if name == "footage" else []
    check(load_config(name and f"configs/{name}.yaml", source), phase)


@pytest.mark.parametrize("override", ["teacher.hasty=[rectangle]", "sft.curriculum=[{steps: 5, lessons: [words]}]"])
def test_a_list_in_place_of_a_mapping_is_one_sentence_with_its_key(override: str) -> None:
    with pytest.raises(ConfigError, match=f"command line: .*{override.split('.')[0]}") as raised:
        load_config(None, [override])
    assert "\n" not in str(raised.value)


def test_an_objective_that_there_is_not_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"grpo\.surrogate"):
        load_config(None, ["grpo.surrogate=ppo"])


def test_code_of_ones_own_is_imported_before_anything_starts() -> None:
    check(load_config(None, ["episode.tools=[crop_video,'configs.own_code:own_code']"]), "eval")
    for override in ("episode.tools=['nowhere:tool']", "episode.reward.function='nowhere:reward'"):
        with pytest.raises(ConfigError, match="cannot be imported"):
            check(load_config(None, [override]), "eval")
