"""The phases of a run, each from the files of the one before: data, captions, cold start, GRPO, evaluation.

Invariant: a phase whose output is there is not run again, so a command that was interrupted goes on where it was.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from actors.ray_start import start_ray
from configs import Config
from endpoint.endpoint import SPENDING
from endpoint.spending import spent
from env.lessons import JoinedLessons, Lessons, LessonSequence
from env.task import Task, TaskFile, load_tasks
from env.trajectory import stream_trajectories
from evals.evaluate import evaluate, evaluate_on
from evals.score import Scores, score
from learner.activity import OnActivity, unwatched
from learner.algorithm import GRPO, GRPOConfig
from learner.checkpoints.folder import latest, step_of
from learner.checkpoints.saver import Saver
from learner.model.tiny import build_tiny_model
from learner.sft import identity, run_sft, within_passes
from recipes.data import run_synth
from recipes.folder import RunFolder, RunFolderError, alone, arm_of, with_arm
from recipes.held_out import HeldOut, observed
from recipes.judging import Canary, require_judge
from recipes.metrics import MetricsLog, forget_rows
from recipes.preflight import require_room
from recipes.progress import PhaseBar, phase
from recipes.recovery import FAILURES, Recovery
from recipes.rollouts import keep_rollouts
from recipes.run_log import RunLog
from storage.files import whole_folder
from storage.logs import whole_rows
from synth.teachers.scripted import corpus
from synth.teachers.trajectories import caption, teach
from synth.teachers.turns import CROP

SHOWN = ("reward", "accuracy", "tool_calls", "kl", "loss")
"""Figures beside the progress bar."""
CORPUS_TASKS = 800
"""Tasks whose texts the tiny model's tokenizer is trained on."""


def first_model(config: Config, folder: RunFolder) -> Path:
    """Return where the cold start begins: the configured weights, or the tiny model once captions taught it to see."""
    if config.model.path:
        return Path(config.model.path)
    tasks = TaskFile(folder.train)
    if not folder.blank_model.exists():
        texts = corpus(tasks[:CORPUS_TASKS], config.world)
        with whole_folder(folder.blank_model) as partial:
            build_tiny_model(config.model.tiny, texts, partial, config.seed)
    if config.captions.all_steps == 0:
        return folder.blank_model
    if not folder.seeing_model.exists():
        start_ray(config)
        with phase("captions: frames and what is in them", len(tasks)) as bar:
            for done in caption(config, tasks, folder.blank_model, folder.caption_lessons):
                bar.step(done, {})
        learn = dataclasses.replace(config, sft=config.captions)
        _supervised(
            learn,
            Lessons(folder.caption_lessons),
            folder.blank_model,
            folder.seeing_model,
            folder.root / "captions.jsonl",
            "captions",
        )
    return folder.seeing_model


def run_cold_start(config: Config, tasks: Sequence[Task] = (), captions: Path | None = None) -> RunFolder:
    """Let the teacher play `tasks`, by default all that there are to train on, and fine-tune the student on what it got
    right, and, where it has a curriculum, on what the tiny model learned to see from: the folder `captions`, by default
    the run's own. Raises PlanError, before anything is started, where it cannot fit."""
    if not RunFolder.of(config, make=False).sft.exists():
        require_room(config, "sft")
    folder = run_synth(config)
    model_dir = first_model(config, folder)
    if folder.sft.exists():
        return folder
    require_judge(config)
    start_ray(config)
    _play_lessons(config, tasks or TaskFile(folder.train), model_dir, folder)
    seen = captions or folder.caption_lessons
    lessons = _all_lessons(folder, seen) if config.sft.curriculum else Lessons(folder.teacher)
    _supervised(_of_its_tools(config), lessons, model_dir, folder.sft, folder.metrics, "sft")
    return folder


def _all_lessons(folder: RunFolder, captions: Path) -> JoinedLessons:
    """The teacher's episodes, of the kind `episode`, and what the tiny model learned to see from, where that is."""
    return JoinedLessons(Lessons(folder.teacher, "episode"), *([Lessons(captions)] if captions.exists() else []))


def _of_its_tools(config: Config) -> Config:
    """Without exercises where there is no tool to look with: they end in closer looks."""
    if CROP in config.episode.tools:
        return config
    stages = [
        dataclasses.replace(stage, lessons={kind: n for kind, n in stage.lessons.items() if kind != "exercise"})
        for stage in config.sft.curriculum
    ]
    return dataclasses.replace(config, sft=dataclasses.replace(config.sft, curriculum=stages))


def _play_lessons(config: Config, tasks: Sequence[Task], model_dir: Path, folder: RunFolder) -> None:
    answers = folder.data / "answers"
    with phase(f"{arm_of(config)}: teacher's episodes", min(len(tasks), config.teacher.tasks)) as bar:
        for done in teach(config, tasks, model_dir, folder.teacher, answers):
            bar.step(done, {})
    if config.teacher.player == "model":
        print(spent(answers / SPENDING).summary())


def _supervised(config: Config, lessons: LessonSequence, source: Path, out: Path, log: Path, name: str) -> None:
    if config.sft.curriculum:
        stages = within_passes(config.sft.curriculum, lessons.kinds())
        config = dataclasses.replace(config, sft=dataclasses.replace(config.sft, curriculum=stages))
    folder = out.with_name(f"{out.name}.checkpoints")
    checkpoints = folder / identity(config, lessons, source)
    newest = latest(checkpoints)
    forget_rows(log, name, after=0 if newest is None else step_of(newest))
    with (
        RunLog(config.tracking, f"{config.name}/{arm_of(config)}/{name}", dataclasses.asdict(config)) as run_log,
        phase(f"{arm_of(config)}: {name}", config.sft.all_steps) as bar,
    ):
        rows = MetricsLog(log, name, run_log)

        def on_step(step: int, metrics: dict[str, float]) -> None:
            rows.write(step, metrics)
            bar.step(step, {key: metrics[key] for key in SHOWN if key in metrics})

        run_sft(config, lessons, source, out, on_step, checkpoints)
    shutil.rmtree(folder, ignore_errors=True)


def run_train(config: Config, resume: bool = False, on_activity: OnActivity = unwatched) -> RunFolder:
    """SFT if it was not run, then GRPO, then the held-out questions, to `episodes/sft.jsonl` and `episodes/grpo.jsonl`;
    `resume` goes on from the newest checkpoint. A run whose policy is there has only the questions left that were not
    played to their end. Raises PlanError, before anything is started, where a phase cannot fit."""
    if not RunFolder.of(config, make=False).policy.exists():
        require_room(config, "grpo")
    _require_held_out(run_synth(config))
    _require_steps(RunFolder.of(config, make=False), config.grpo.steps)
    folder = run_cold_start(config)
    if not folder.policy.exists():
        require_judge(config)
        start_ray(config)
        _train(config, folder, resume, on_activity)
    for name, model in (("sft", folder.sft), ("grpo", folder.policy)):
        ask_held_out(config, folder, name, model)
    return folder


def ask_held_out(config: Config, folder: RunFolder, name: str, model: Path) -> None:
    """Have a model play the held-out questions, to `episodes/NAME.jsonl`, unless it did."""
    if not folder.episodes(name).exists():
        start_ray(config)
        _ask_held_out(config, name, folder, partial(evaluate, config, model))


def _require_held_out(folder: RunFolder) -> None:
    """Before anything is learned: what a run is measured on. Raises RunFolderError where there is none."""
    if not folder.test.exists():
        raise RunFolderError(
            f"{folder.data}: holds no held-out question, on which a run is measured; each film is held out with the "
            f"chance synth.test_fraction, so raise that or give more films, and start over by removing {folder.data}"
        )


def _require_steps(folder: RunFolder, steps: int) -> None:
    """Do nothing where GRPO is still to end. Raises RunFolderError where it ended with another number of steps."""
    made = [row["step"] for row in whole_rows(folder.metrics) if row.get("stage") == "grpo"]
    if folder.policy.exists() and made and max(made) != steps:
        raise RunFolderError(
            f"{folder.arm}: GRPO ended at step {max(made)}, and grpo.steps is {steps}; choose another name, or remove "
            f"{folder.policy.name} and {folder.episodes('grpo').relative_to(folder.arm)} there to have it go on "
            "to more from its newest checkpoint, with --resume"
        )


def _train(config: Config, folder: RunFolder, resume: bool, on_activity: OnActivity) -> None:
    """GRPO to its policy, and on its engines and runners the held-out questions before and after."""
    tasks = folder.rl if folder.rl.exists() else folder.for_grpo
    settings = GRPOConfig().grpo(run=config, model_dir=folder.sft, tasks_file=tasks, reference_dir=folder.sft)
    with phase(f"{arm_of(config)}: engines and ranks come up"):
        algorithm = settings.build_algo()
    algorithm.on_activity = on_activity
    newest = latest(folder.checkpoints) if resume else None
    name, params = f"{config.name}/{arm_of(config)}/grpo", dataclasses.asdict(config)
    with RunLog(config.tracking, name, params, folder=folder.arm, resume=newest is not None) as run_log:
        try:
            if newest is not None:
                algorithm.restore_from_path(str(newest))
            forget_rows(folder.metrics, "grpo", after=algorithm.training_iteration)
            if not folder.episodes("sft").exists() and algorithm.version == 0:
                _ask_held_out(config, "sft", folder, partial(_on_running, config, algorithm, folder.sft))
            _optimize(config, algorithm, folder, run_log)
            algorithm.ranks.export(folder.policy)
            _ask_held_out(config, "grpo", folder, partial(_on_running, config, algorithm, folder.policy))
        finally:
            algorithm.stop()


def _optimize(config: Config, algorithm: GRPO, folder: RunFolder, run_log: RunLog) -> None:
    """GRPO steps up to `grpo.steps`, with checkpoints on the way, to the newest of which it goes back on a failure."""
    grpo, watched = config.grpo, config.episode.reward
    if CROP not in config.episode.tools:
        watched = dataclasses.replace(watched, delta=0.0)  # that nobody looks is no alarm where nobody can
    held_out = HeldOut(config, algorithm, folder)
    rows, recovery = MetricsLog(folder.metrics, "grpo", run_log, watched), Recovery(grpo)
    saver = Saver(
        folder.checkpoints, grpo.keep_checkpoints, grpo.best_metric, config.ranks.step_timeout_s, algorithm.on_activity
    )

    def rebuild() -> str:
        saver.reset()
        newest = latest(folder.checkpoints)
        algorithm.rebuild(newest)
        rows.forget(after=algorithm.training_iteration)
        return "the start" if newest is None else newest.name

    with phase(f"{arm_of(config)}: grpo", grpo.steps) as bar, closing(saver), closing(Canary(config)) as canary:
        while algorithm.training_iteration < grpo.steps:
            step = algorithm.training_iteration + 1
            try:
                _step(config, algorithm, folder, rows, saver, canary, held_out, run_log, bar)
            except FAILURES as failure:
                recovery.recover(failure, step, rebuild)


def _step(
    config: Config,
    algorithm: GRPO,
    folder: RunFolder,
    rows: MetricsLog,
    saver: Saver,
    canary: Canary,
    held_out: HeldOut,
    run_log: RunLog,
    bar: PhaseBar,
) -> None:
    grpo = config.grpo
    metrics: dict[str, float] = algorithm.train()["grpo"]
    step = algorithm.training_iteration
    keep_rollouts(config.tracking, folder.rollouts, step, algorithm)
    metrics |= held_out.figures(step)
    saver.observe(observed(metrics, grpo.best_metric))
    figures = rows.write(step, {**metrics, **canary.figures(step), "failed_checkpoints": float(saver.failed)})
    bar.step(step, {key: figures[key] for key in SHOWN if key in figures})
    last = step == grpo.steps
    if step % grpo.checkpoint_every and not last:
        return
    saver.save(step, algorithm.start_save, block=last or not grpo.async_checkpoints)
    played = [episode for group in algorithm.groups for episode in group.trajectories]
    run_log.episodes(step, played[:: max(1, len(played) // max(1, config.tracking.sample_episodes))])


def _on_running(config: Config, algorithm: GRPO, model: Path, tasks: Sequence[Task], out: Path) -> None:
    """Evaluate the policy that the run's engines hold, which is in `model` as well."""
    evaluate_on(algorithm.players(), algorithm.version, config, model, tasks, out)


def _ask_held_out(config: Config, name: str, folder: RunFolder, play: Callable[[Sequence[Task], Path], None]) -> Scores:
    """Have the held-out questions played to `episodes/NAME.jsonl`; scores to the screen."""
    with phase(f"{arm_of(config)}: held-out questions, {name}"):
        play(load_tasks(folder.test), folder.episodes(name))
    scores = score(stream_trajectories(folder.episodes(name)), seed=config.seed)
    print(_summary(scores))
    return scores


def run_eval(config: Config, model_dir: str | Path) -> Scores:
    """Play the held-out tasks with any model; episodes to `episodes/eval.jsonl`, scores to the screen."""
    folder = run_synth(config)
    _require_held_out(folder)
    require_judge(config)
    start_ray(config)
    with alone(folder.episodes("eval")):
        return _ask_held_out(config, "eval", folder, partial(evaluate, config, model_dir))


def _summary(scores: Scores) -> str:
    return (
        f"accuracy {scores.accuracy.mean:.3f} [{scores.accuracy.low:.3f}, {scores.accuracy.high:.3f}] on "
        f"{scores.accuracy.tasks} questions, {scores.tool_calls:.2f} tool calls an episode"
    )


def trained_arm(config: Config, arm: str) -> dict[str, Scores]:
    """Train one arm; its held-out scores after SFT and after GRPO."""
    folder = run_train(with_arm(config, arm), resume=True)
    return {name: score(stream_trajectories(folder.episodes(name)), seed=config.seed) for name in ("sft", "grpo")}
