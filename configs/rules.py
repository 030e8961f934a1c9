"""Which settings of a run go together.

Invariant: a setting that would do nothing, or something else than it says, beside the others is refused before
anything starts or is written. The rules here need nothing but the config; what depends on a model, on the data or on
the machine is checked where that is known.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Literal

from configs.endpoint import EndpointConfig
from configs.episode import TOOL_NAMES
from configs.load import ConfigError
from configs.own_code import own_code
from configs.ranges import MOST, check_ranges
from configs.run import Config
from configs.training import LEAST_STAGE, LESSON_KINDS, NATIVE, LoraConfig, SftConfig
from configs.world import PROMPT_KINDS, QUESTION_KINDS

Phase = Literal["synth", "sft", "grpo", "difficulty", "eval", "serve", "ablation", "ranks", "judge"]
"""What the settings are to be used for, with all that goes before it."""


HELD_OUT = ("eval_accuracy", "eval_reward", "eval_tool_calls", "eval_found")
"""What a look at the held-out questions during training finds."""
REWARD_TAKES = ("config", "task", "answer", "accuracy", "format_ok", "calls", "evidence")
"""What a reward of one's own is called with, as `env.reward.score` is."""


def check(config: Config, phase: Phase) -> None:
    """Check the settings that a phase uses, and those of the phases before it. Raises ConfigError, with the keys and
    what to set, where two contradict each other or one is out of its range."""
    check_ranges(config)
    parts = config.name.split("/")
    if not all(parts) or {".", ".."} & set(parts):
        raise ConfigError(f"name: '{config.name}' is no name of a folder below runs_dir")
    for rules in RULES[phase]:
        rules(config)


def check_endpoint(config: EndpointConfig, key: str) -> None:
    """Check a model's server by the key of its settings, e.g. `synth.video_model`; raises ConfigError where one makes
    no sense."""
    if not config.model:
        raise ConfigError(f"{key}.model: is empty; name the model as the server at {key}.base_url has it")
    if not config.base_url.startswith(("http://", "https://")):
        raise ConfigError(f"{key}.base_url: '{config.base_url}' does not begin with http:// or https://")
    check_ranges(config, f"{key}.")
    if config.budget_usd is not None and not (config.usd_per_million_input or config.usd_per_million_output):
        raise ConfigError(f"{key}.budget_usd: says nothing while both {key}.usd_per_million_... prices are 0")


def _data(config: Config) -> None:
    synth, world = config.synth, config.world
    _require_known(world.kinds, QUESTION_KINDS, "world.kinds", "kind")
    for key, kinds in (("world.prompt_kinds", world.prompt_kinds), ("synth.prompt_kinds", synth.prompt_kinds)):
        _require_known(kinds, PROMPT_KINDS, key, "kind")
        if not kinds:
            raise ConfigError(f"{key}: is empty; there are {', '.join(PROMPT_KINDS)}")
    if not world.kinds:
        raise ConfigError(f"world.kinds: is empty; there are {', '.join(QUESTION_KINDS)}")
    for what in ("duration_s", "instances"):
        least, most = getattr(world, f"min_{what}"), getattr(world, f"max_{what}")
        if least > most:
            raise ConfigError(f"world.min_{what}={least:g} is more than world.max_{what}={most:g}")
    if (synth.mixing.films or synth.mixing.rl_films) and synth.source in (None, "world"):
        raise ConfigError("synth.mixing: makes new films of those of synth.source; set that to a folder of videos")
    if synth.source is None:
        return
    if not synth.segmenter.strip():
        raise ConfigError("synth.segmenter: is empty; choose 'world', 'motion', or a folder or hub id of SAM 3")
    if synth.gpus_per_segmenter and synth.segmenter in ("world", "motion"):
        raise ConfigError(f"synth.gpus_per_segmenter is for SAM 3; synth.segmenter={synth.segmenter} has no use for it")
    # Not every source needs the stages of the text and the video, so that those may go without a model.
    if synth.rewriter == "model" or (synth.text_filter == "model" and synth.text_model.model):
        check_endpoint(synth.text_model, "synth.text_model")
    if synth.verifier == "model" and synth.video_model.model:
        check_endpoint(synth.video_model, "synth.video_model")


def _episode(config: Config) -> None:
    own = [name for name in config.episode.tools if ":" in name]
    _require_known([name for name in config.episode.tools if name not in own], TOOL_NAMES, "episode.tools", "tool")
    for name in own:
        own_code("episode.tools", name)
    if not config.episode.reasoning and config.episode.tools:
        raise ConfigError("episode.reasoning=false: who answers directly has no tools; set episode.tools=[]")
    most, first = config.episode.max_frames, config.episode.prompt_max_frames
    if most and first > most:
        raise ConfigError(f"episode.prompt_max_frames={first} is more than episode.max_frames={most} of all an episode")
    if config.episode.reward.function:
        function = own_code("episode.reward.function", config.episode.reward.function)
        try:
            inspect.signature(function).bind(*REWARD_TAKES)
        except (TypeError, ValueError):
            raise ConfigError(
                f"episode.reward.function: '{config.episode.reward.function}' is no function of "
                f"({', '.join(REWARD_TAKES)})"
            ) from None


def _benchmarks(config: Config) -> None:
    _require_known([config.eval.mark_kind], PROMPT_KINDS, "eval.mark_kind", "kind")


def _judge(config: Config) -> None:
    served = config.judge.serve.model
    if config.judge.by == "model" and not served:
        check_endpoint(config.judge.model, "judge.model")
    _refuse(
        {
            f"judge.serve.model={served}: nobody would ask it; set judge.by=model": (
                bool(served) and config.judge.by == "rules"
            ),
            f"judge.model.model={config.judge.model.model}: is not the judge that judge.serve.model={served} serves; "
            "set one of them": bool(served and config.judge.model.model),
        }
    )


def _cold_start(config: Config) -> None:
    _require_known(config.teacher.hasty, PROMPT_KINDS, "teacher.hasty", "kind")
    for kind, chance in config.teacher.hasty.items():
        if not 0 <= chance <= 1:
            raise ConfigError(f"teacher.hasty.{kind}={chance:g}: a chance is 0 to 1")
    if config.teacher.player == "model":
        check_endpoint(config.teacher.model, "teacher.model")


def _curricula(config: Config) -> None:
    for key, sft in (("captions", config.captions), ("sft", config.sft)):
        if sft.curriculum and sft.steps not in (SftConfig().steps, 0):
            raise ConfigError(
                f"{key}.steps={sft.steps}: says nothing beside {key}.curriculum; set its steps, or it to []"
            )
        taught = LESSON_KINDS if key == "captions" else ("episode", *LESSON_KINDS)
        for i, stage in enumerate(sft.curriculum):
            if stage.steps < 1 or not stage.lessons or min(stage.lessons.values()) < 1:
                raise ConfigError(f"{key}.curriculum[{i}]: takes steps and lessons of each kind, each at least 1")
            _require_known(stage.lessons, taught, f"{key}.curriculum[{i}].lessons", "kind")
            if key == "sft" and set(stage.lessons) == {"exercise"} and "crop_video" not in config.episode.tools:
                raise ConfigError(f"sft.curriculum[{i}]: exercises alone teach nothing without crop_video")
            for name, value in (("passes", stage.passes), ("until", stage.until)):
                if value is not None and not 0 < value < math.inf:
                    raise ConfigError(f"{key}.curriculum[{i}].{name}={value:g}: takes more than 0, and a finite number")


def _optimizers(config: Config) -> None:
    whole = config.ranks.zero_stage == 0 and config.ranks.dtype == "float32"
    for key, sft in (("captions", config.captions), ("sft", config.sft)):
        if sft.optimizer == "muon" and not whole:
            raise ConfigError(
                f"{key}.optimizer=muon takes whole matrices: set ranks.zero_stage=0 ranks.dtype=float32, or "
                f"{key}.optimizer=adamw"
            )


def _ranks(config: Config) -> None:
    ranks, lora, engine = config.ranks, config.ranks.lora, config.engine
    least = LEAST_STAGE[ranks.offload]
    _refuse(
        {
            "ranks.train is empty, so that nothing would train": not ranks.train,
            f"ranks.offload={ranks.offload} needs ranks.zero_stage >= {least}, not {ranks.zero_stage}": (
                ranks.zero_stage < least
            ),
            f"engine.lora_rank={engine.lora_rank} makes the learner publish an adapter, so ranks.lora.rank must "
            f"be 1 to {engine.lora_rank}, not {lora.rank}": (
                engine.lora_rank > 0 and not 0 < lora.rank <= engine.lora_rank
            ),
            "with engine.lora_rank an adapter is published, as a file; leave ranks.transport at auto": (
                engine.lora_rank > 0 and ranks.transport not in ("auto", "file")
            ),
            f"ranks.transport={ranks.transport} takes ranks and engines on GPUs; leave it at auto": (
                ranks.transport in NATIVE and not (ranks.gpus_per_rank and engine.gpus_per_engine)
            ),
            "engine.colocate puts engines on the ranks' GPUs: set ranks.gpus_per_rank=1 engine.gpus_per_engine=1 and "
            f"engine.engines to at most ranks.ranks, {ranks.ranks}": (
                engine.colocate
                and not (ranks.gpus_per_rank == engine.gpus_per_engine == 1 and engine.engines <= ranks.ranks)
            ),
            f"ranks.weights_dir does nothing with ranks.transport={ranks.transport}; set one of the two": (
                ranks.transport not in ("auto", "file") and ranks.weights_dir is not None
            ),
            "engine.lora_rank takes adapters on the language model alone; leave the other names out of "
            "ranks.lora.targets, or set engine.lora_rank=0 to publish merged weights": (
                engine.lora_rank > 0 and bool(set(lora.targets) - set(LoraConfig().targets))
            ),
        }
    )


def _objective(config: Config) -> None:
    grpo = config.grpo
    corrects = grpo.correction != "none" or grpo.max_sequence_gap is not None
    _refuse(
        {
            "grpo.correction and grpo.max_sequence_gap compare pi_old with the engine's: set "
            "grpo.old_logprobs=learner": corrects and grpo.old_logprobs == "engine",
            "grpo.correction_max must not be below grpo.correction_min": grpo.correction_max < grpo.correction_min,
            "grpo.dual_clip must be above 1, and is for grpo.surrogate=clip or gspo": (
                grpo.dual_clip is not None and (grpo.dual_clip <= 1 or grpo.surrogate not in ("clip", "gspo"))
            ),
            f"grpo.best_metric={grpo.best_metric}: is taken by no step with eval.every=0; set that too": (
                grpo.best_metric.removeprefix("-").startswith("eval_") and not config.eval.every
            ),
            f"grpo.best_metric={grpo.best_metric}: no such look at the held-out questions; there are "
            f"{', '.join(HELD_OUT)}": (
                grpo.best_metric.removeprefix("-").startswith("eval_")
                and grpo.best_metric.removeprefix("-") not in HELD_OUT
            ),
            f"grpo.best_metric={grpo.best_metric}: looks at the policies of checkpoints alone; set eval.every to a "
            f"multiple of grpo.checkpoint_every={grpo.checkpoint_every}": (
                grpo.best_metric.removeprefix("-") in HELD_OUT and config.eval.every % grpo.checkpoint_every > 0
            ),
            "grpo.dynamic_sampling replaces the groups that grpo.drop_uniform_groups leaves out: set that too": (
                grpo.dynamic_sampling and not grpo.drop_uniform_groups
            ),
            "training needs sampling.top_p 1 and a positive sampling.temperature: the ratios assume it": (
                config.sampling.top_p != 1.0 or config.sampling.temperature <= 0.0
            ),
        }
    )


def _difficulty(config: Config) -> None:
    low, high = config.difficulty.low, config.difficulty.high
    if not 0.0 <= low < high <= 1.0:
        raise ConfigError(f"difficulty: a band needs 0 <= low < high <= 1, not low {low} and high {high}")


def _ablation(config: Config) -> None:
    options, seeds = config.ablation.options, config.ablation.seeds
    if not options or min(options) < 2:
        raise ConfigError(f"ablation.options: give numbers of at least 2 options, not {options}")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > MOST:
        raise ConfigError(f"ablation.seeds: give different numbers from 0 to {MOST:,}, not {seeds}")


RULES: dict[Phase, tuple[Callable[[Config], None], ...]] = {
    "synth": (_data,),
    "sft": (_data, _episode, _judge, _cold_start, _curricula, _optimizers, _ranks),
    "grpo": (_data, _episode, _judge, _cold_start, _curricula, _optimizers, _ranks, _objective),
    "difficulty": (_data, _episode, _judge, _difficulty),
    "eval": (_data, _episode, _judge, _benchmarks),
    "serve": (_episode,),
    "ablation": (_data, _episode, _judge, _cold_start, _curricula, _optimizers, _ranks, _objective, _ablation),
    "ranks": (_ranks,),
    "judge": (_judge,),
}


def _refuse(broken: dict[str, bool]) -> None:
    for sentence, is_so in broken.items():
        if is_so:
            raise ConfigError(sentence)


def _require_known(given: Iterable[str], known: tuple[str, ...], key: str, what: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{key}: no {what} '{name}'; there are {', '.join(known)}")
