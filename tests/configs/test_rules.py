"""The recipes of the documentation, and settings that contradict each other."""

import re
from pathlib import Path

import pytest

from configs import ConfigError, load_config, to_yaml
from configs.rules import require_consistent
from configs.training import GrpoConfig

TEXT = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text()
RECIPES = dict(re.findall(r"^### (\w+)\n.*?^```yaml\n(.*?)^```", TEXT, re.M | re.S))


def test_all_recipes_are_found():
    assert set(RECIPES) == {"dapo", "dr_grpo", "gspo", "cispo", "rloo", "tis"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_loads_and_its_settings_go_together(name, tmp_path):
    path, dump = tmp_path / "recipe.yaml", tmp_path / "dump.yaml"
    path.write_text(RECIPES[name])
    config = load_config(path)
    dump.write_text(to_yaml(config))
    assert load_config(dump) == config
    assert config.grpo != GrpoConfig()
    require_consistent(config.grpo, has_reference=True)


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
def test_a_recipe_has_the_published_figures(name, published, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPES[name])
    grpo = load_config(path).grpo
    assert {key: getattr(grpo, key) for key in published} == published


def test_the_documentation_names_every_setting_of_the_objective():
    others = {"steps", "weight_decay", "max_grad_norm", "max_staleness", "max_mismatch_kl", "env_runners"}
    others |= {"episodes_in_flight", "rollout_timeout_s", "checkpoint_every", "keep_checkpoints"}
    others |= {"async_checkpoints", "best_metric", "max_rebuilds"}
    keys = set(GrpoConfig.__dataclass_fields__) - others
    assert {key for key in keys if not re.search(rf"\b{key}\b", TEXT)} == set()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"correction": "token"}, "set grpo.old_logprobs=learner"),
        ({"max_sequence_gap": 0.1}, "set grpo.old_logprobs=learner"),
        ({"dual_clip": 0.5}, "grpo.dual_clip must be above 1"),
        ({"dual_clip": 3.0, "surrogate": "cispo"}, "is for grpo.surrogate=clip or gspo"),
        ({"kl_in": "reward"}, "needs a reference policy"),
        ({"dynamic_sampling": True, "drop_uniform_groups": False}, "set that too"),
        ({"advantage": "leave_one_out", "group_size": 1}, "grpo.group_size of at least 2"),
        ({"correction_max": 0.5, "correction_min": 0.8}, "grpo.correction_max"),
        ({"keep_checkpoints": 0}, "grpo.keep_checkpoints must be at least 1, not 0"),
        ({"norm_tokens": 0}, "grpo.norm_tokens must be at least 1, not 0"),
        ({"clip_high": -0.1}, "grpo.clip_high must not be negative, but is -0.1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_their_keys(settings, said):
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        require_consistent(GrpoConfig(**settings), has_reference=False)
    assert "\n" not in str(raised.value)


def test_the_defaults_need_nothing_more():
    require_consistent(GrpoConfig(), has_reference=False)


def test_an_objective_that_there_is_not_is_refused_with_its_key():
    with pytest.raises(ConfigError, match=r"grpo\.surrogate"):
        load_config(None, ["grpo.surrogate=ppo"])
