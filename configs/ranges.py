"""The range of each number of a config.

Invariant: every number is finite and within its range before anything starts; the error names the key and the range.
"""

import math
from fnmatch import fnmatch
from operator import attrgetter
from typing import Any

from configs.load import ConfigError, fields_of

NUMBERS = (int, float, int | None, float | None)
"""Types of the settings that are numbers."""
MOST = 2**31 - 1
"""Largest number that any setting takes: what C's int holds."""
LEAST_1 = (
    *("world.size_px", "world.fps", "world.train_videos", "*.questions_per_video"),
    *("synth.records_per_shard", "synth.workers", "synth.masks.*_looks"),
    *("*_model.concurrency", "*_model.max_*", "teacher.model.concurrency", "teacher.model.max_*"),
    *("judge.model.concurrency", "judge.model.max_*", "judge.answer_chars", "judge.canary_pairs"),
    *("judge.serve.max_*",),
    *("episode.*_max_frames", "episode.*_pixels", "episode.pixel_multiple", "episode.max_calls_per_turn"),
    *("episode.max_turn_tokens", "episode.max_tokens", "model.tiny.*_size", "model.tiny.*layers", "model.tiny.*heads"),
    *("engine.engines", "engine.cpu_threads", "engine.max_*", "ranks.ranks", "ranks.cpus_per_rank"),
    *("ranks.micro_batch_tokens", "ranks.bucket_mib", "*.batch", "*.checkpoint_every", "grpo.keep_checkpoints"),
    *("*.max_bad_updates", "grpo.rebuild_window", "eval.questions_during"),
    *("grpo.mini_batches", "grpo.prompts_per_step", "grpo.norm_tokens", "grpo.max_prompt_batches"),
    *("grpo.env_runners", "*.episodes_in_flight", "difficulty.attempts"),
    *("serve.replicas", "serve.max_ongoing_requests", "serve.max_upload_mib"),
)
"""Patterns of the keys whose number is at least 1."""
POSITIVE = ("*fps", "*_s", "*_gib", "sampling.top_p", "synth.cpus_per_worker", "synth.masks.max_*", "*.lr")
MAY_BE_0 = ("*.busy_wait_s", "engine.frame_cache_gib")
"""Patterns of those that are above 0, and of those among them that may be 0 all the same."""
BETWEEN: dict[str, tuple[float, float]] = {
    "grpo.group_size": (2, MOST),
    "ranks.zero_stage": (0, 3),
    "synth.gpus_per_segmenter": (0, 1),
    "serve.port": (1, 65535),
    "world.*_instances": (1, 4),
    "world.*_duration_s": (4, 90),
    "synth.masks.*_looks": (1, MOST),
    "synth.masks.max_growth": (1, MOST),
    **dict.fromkeys(("*_fraction", "*_share", "*.warmup", "ablation.choice_lessons"), (0, 1)),
    **dict.fromkeys(("teacher.wander", "teacher.recheck", "teacher.give_up", "teacher.look_on"), (0, 1)),
    **dict.fromkeys(("synth.masks.m??_*", "difficulty.low", "difficulty.high"), (0, 1)),
    **dict.fromkeys(("engine.gpu_memory_utilization", "sampling.top_p", "ranks.lora.dropout", "ranks.beta2"), (0, 1)),
}
"""Patterns of those that have another range than 0 to `MOST`, both ends included; the first that fits counts."""


def check_ranges(config: Any, prefix: str = "") -> None:
    """Check every number of a config, or of the part of one whose keys begin with `prefix`.

    Raises:
        ConfigError: one is out of its range.
    """
    for key, kind in fields_of(type(config)):
        value, name = attrgetter(key)(config), prefix + key
        if kind not in NUMBERS or value is None:
            continue
        least, most = next((bounds for pattern, bounds in BETWEEN.items() if fnmatch(name, pattern)), (0, MOST))
        if _is_one(name, LEAST_1):
            least = max(1, least)
        if not math.isfinite(value):
            raise ConfigError(f"{name} must be a finite number, not {value}")
        if value < least:
            raise ConfigError(f"{name} must be at least {least:g}, not {value}")
        if value > most:
            raise ConfigError(f"{name} must be at most {most:,}, not {value}")
        if value == 0 and _is_one(name, POSITIVE) and not _is_one(name, MAY_BE_0):
            raise ConfigError(f"{name} must be more than 0")


def _is_one(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
