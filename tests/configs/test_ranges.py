"""Every number of a config is within its range before anything starts."""

import math
import re
from fnmatch import fnmatch
from operator import attrgetter

import pytest

from configs import Config, ConfigError, load_config
from configs.load import fields_of
from configs.ranges import BETWEEN, LEAST_1, MAY_BE_0, NUMBERS, POSITIVE, check_ranges
from configs.rules import check

KEYS = [key for key, kind in fields_of(Config) if kind in NUMBERS]


@pytest.mark.parametrize("value", [-1, -1e9, math.nan, math.inf, -math.inf, 1e300, 2**31, 10**30])
def test_a_number_beyond_every_range_is_refused_with_its_key(value: float) -> None:
    for key in KEYS:
        config = Config()
        section, _, name = key.rpartition(".")
        setattr(attrgetter(section)(config) if section else config, name, value)
        with pytest.raises(ConfigError, match=f"^{re.escape(key)} must be "):
            check(config, "grpo")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("serve.port=80000", "serve.port must be at most 65,535, not 80000"),
        ("serve.port=0", "serve.port must be at least 1, not 0"),
        ("grpo.group_size=1", "grpo.group_size must be at least 2, not 1"),
        ("engine.kv_cache_gib=0", "engine.kv_cache_gib must be more than 0"),
        ("episode.timeout_s=0", "episode.timeout_s must be more than 0"),
        ("ranks.zero_stage=4", "ranks.zero_stage must be at most 3, not 4"),
        ("world.fps=0", "world.fps must be at least 1, not 0"),
        ("synth.masks.min_score=1.5", "synth.masks.min_score must be at most 1, not 1.5"),
        ("ranks.gpu_memory_gib=0", "ranks.gpu_memory_gib must be more than 0"),
        ("sft.warmup=2", "sft.warmup must be at most 1, not 2.0"),
    ],
)
def test_what_is_said_names_the_bound(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        check_ranges(load_config(None, [override]))


@pytest.mark.parametrize(
    "override",
    [
        "serve.port=65535",
        "grpo.steps=0",
        "engine.frame_cache_gib=0",
        "teacher.model.busy_wait_s=0",
        "grpo.clip_high=null",
        "ranks.lora.rank=0",
        "synth.test_fraction=1",
        "synth.masks.max_growth=3",
        f"seed={2**31 - 1}",
    ],
)
def test_the_ends_of_a_range_belong_to_it(override: str) -> None:
    check_ranges(load_config(None, [override]))


@pytest.mark.parametrize("pattern", [*LEAST_1, *POSITIVE, *MAY_BE_0, *BETWEEN])
def test_no_pattern_is_left_over(pattern: str) -> None:
    assert any(fnmatch(key, pattern) for key in KEYS)
