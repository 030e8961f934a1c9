"""What guessing is worth: GRPO on open questions against GRPO on multiple choice (paper, Table 6).

All arms begin with one policy, whose lessons were of both forms: one that has never seen options writes nonsense when
it is shown some.

Invariant: the arms differ in nothing but the form in which GRPO asks the training questions; films, questions, their
order, steps and seeds are the same. All are examined on the same held-out questions, in both forms.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actors.ray_start import start_ray
from configs import Config, ConfigError
from configs.rules import check
from env.looks import Sought
from env.task import Task, load_tasks
from env.trajectory import Trajectory, load_trajectories
from evals.evaluate import evaluate
from evals.score import accuracy_of, score
from recipes.data import run_synth
from recipes.folder import RunFolder, with_arm
from recipes.phases import first_model, run_cold_start, run_train
from recipes.progress import phase
from recipes.studies.ablations.answer_page import page
from recipes.studies.ablations.branches import branch_off, each_seed
from storage.files import JsonObject, write_text
from storage.logs import whole_rows
from synth.world.tasks import as_choice, question_of

PAGE = "answers.md"
"""In the folder of the config's own run."""
CURVE_STEPS = 4
"""Steps that each end of a training curve is the mean of."""


@dataclass(frozen=True)
class Examined:
    """What the held-out questions of one form show of a policy. Shares are None where nothing is to be shared."""

    accuracy: float
    """0 to 1."""
    tool_calls: float
    """Calls an episode."""
    parse_rate: float
    looked: float | None
    """Share of the questions that need a closer look in which the agent looked at all that is asked for."""
    right_if_looked: float | None
    """Accuracy in those episodes."""
    right_if_not: float | None
    """Accuracy in the others: what a guess is worth."""
    lucky: float | None
    """Share of the right answers to questions about a stretch that were given without having looked there."""


def ablate_answers(config: Config) -> Path:
    """Train and examine every arm with every seed of `ablation.seeds`, unless it was done before. A seed's world and
    captions are those of `make results`; the rest lies in `answers` in the run's folder. Returns the page. Raises
    ValueError for a choice of less than two options, or tasks that are not of the procedural world."""
    check(with_arm(config, "both"), "ablation")
    if config.synth.source:
        raise ConfigError(
            "synth.source: `ablate answers` asks openly and with options, as the procedural world alone can"
        )
    found = [_one_seed(with_arm(run, "both")) for run in each_seed(config)]
    written = Path(config.runs_dir) / config.name / PAGE
    write_text(written, page(config, found))
    print(f"answers: {written}")
    return written


def _one_seed(run: Config) -> JsonObject:
    """Of the start and of each arm: what each form shows of it, and how its training went."""
    world = run_synth(run)
    model = dataclasses.replace(run.model, path=str(first_model(run, world).absolute()))
    reward = run.episode.reward
    # The paper's, in which a guess that is right is worth as much as an answer that was seen.
    episode = dataclasses.replace(
        run.episode, reward=dataclasses.replace(reward, alpha=reward.alpha + reward.delta, delta=0.0)
    )
    study = dataclasses.replace(run, data_dir=str(world.data), model=model, episode=episode)
    start = _cold_start(dataclasses.replace(study, name=f"{run.name}/answers/start"), world.caption_lessons)
    report: JsonObject = {"seed": run.seed, "start": _examined(study, start, "sft")}
    for name, options in {"open": 0, **{f"choice{most}": most for most in run.ablation.options}}.items():
        arm = dataclasses.replace(study, name=f"{run.name}/answers/{name}")
        tasks = load_tasks(start.for_grpo)
        branch_off(arm, start, in_forms(tasks, arm.seed, options) if options else tasks)
        folder = run_train(arm, resume=True)
        report[name] = {**_examined(arm, folder, "grpo"), "curve": curve_ends(list(whole_rows(folder.metrics)))}
    return report


def _cold_start(config: Config, captions: Path) -> RunFolder:
    folder = RunFolder.of(config)
    most, share = max(config.ablation.options), config.ablation.choice_lessons
    return run_cold_start(config, in_forms(load_tasks(folder.train), config.seed, most, share), captions)


def in_forms(tasks: Sequence[Task], seed: int, options: int, choice_fraction: float = 1.0) -> list[Task]:
    """The tasks of the procedural world, that share of them as multiple choice, with `options` at most or all that
    there are; each is a function of (seed, task)."""
    asked = []
    for task in tasks:
        rng = np.random.default_rng([seed, *task.id.encode()])
        chosen = rng.random() < choice_fraction
        asked.append(as_choice(task, question_of(task)[1], rng, options) if chosen else task)
    return asked


def _examined(config: Config, folder: RunFolder, name: str) -> JsonObject:
    """Return what each form of the held-out questions shows of a policy; `grpo` has played the open ones."""
    tasks = load_tasks(folder.test)[: config.eval.questions or None]
    model = folder.sft if name == "sft" else folder.policy
    found = {}
    for form, file in (("open", name), ("choice", f"{name}_choice")):
        asked = in_forms(tasks, config.seed, max(config.ablation.options)) if form == "choice" else tasks
        if not folder.episodes(file).exists():
            start_ray(config)
            with phase(f"held-out questions, {name}, {form}"):
                evaluate(config, model, asked, folder.episodes(file))
        found[form] = dataclasses.asdict(examine(load_trajectories(folder.episodes(file))))
    return found


def examine(episodes: Sequence[Trajectory]) -> Examined:
    """What episodes show."""
    scores = score(episodes)
    looks = [(sought.found, accuracy_of(episode)) for episode in episodes if (sought := Sought.of(episode))]
    looked, not_looked = ([right for saw, right in looks if saw == wanted] for wanted in (True, False))
    return Examined(
        accuracy=scores.accuracy.mean,
        tool_calls=scores.tool_calls,
        parse_rate=scores.parse_rate,
        looked=_share(len(looked), len(looks)),
        right_if_looked=_share(sum(looked), len(looked)),
        right_if_not=_share(sum(not_looked), len(not_looked)),
        lucky=_share(sum(not_looked), sum(looked) + sum(not_looked)),
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def curve_ends(rows: Sequence[JsonObject]) -> dict[str, list[float]]:
    """First and last value of GRPO's training curves, each the mean of `CURVE_STEPS` steps."""
    steps = [row for row in rows if row["stage"] == "grpo"]
    ends = (steps[:CURVE_STEPS], steps[-CURVE_STEPS:])
    return {
        name: [float(np.mean([row[name] for row in end])) for end in ends]
        for name in ("reward", "accuracy", "tool_calls")
    }
