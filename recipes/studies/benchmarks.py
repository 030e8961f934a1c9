"""Published benchmarks with any policy: `RUN/benchmarks/NAME/POLICY/MODE` holds its answers, and one page all scores.

Invariant: an answer counts for the settings that it was given with; others never join it.
"""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from actors.ray_start import start_ray
from actors.rollout.players import players
from configs import Config
from configs.load import ConfigError
from configs.rules import check, check_endpoint
from endpoint.endpoint import SPENDING, deciding
from endpoint.spending import spent
from env.datasets.benchmarks import benchmark_of
from env.datasets.reading import BenchmarkTasks, read_benchmark
from env.datasets.rows import SourceError
from env.task import Task, load_tasks, save_tasks
from env.trajectory import Trajectory
from evals.answers import TASKS, AnswerLog
from evals.benchmark import Results, benchmark_scores, play_on_engines, play_on_server
from evals.evaluate import GREEDY, settings_of
from evals.pages.benchmarks import write_benchmarks
from evals.responses import rules_named
from evals.saved_answers import keep_saved
from evals.score import accuracy_of
from recipes.folder import RunFolder, RunFolderError, alone
from recipes.judging import require_judge
from recipes.progress import PhaseBar, phase
from recipes.studies.benchmark_page import page
from storage.files import write_text

Mode = Literal["direct", "reasoning", "tools"]
MODES: tuple[Mode, ...] = ("direct", "reasoning", "tools")
SAVED = "saved"
"""In place of a mode: answers that were saved elsewhere."""
SERVER = "server"
"""Names, in place of a model's folder, the model of `eval.server`."""
WRONG_SHOWN = 4
"""Wrong answers of a benchmark that the page shows whole."""


@dataclass(frozen=True)
class Part:
    """Which questions are played now."""

    limit: int = 0
    """Most questions, from the first; 0 takes all."""
    shard: int = 0
    """From 0."""
    shards: int = 1

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """The questions of this part."""
        chosen = tasks[: self.limit or None]
        return list(chosen[self.shard :: self.shards])


def part_of(limit: int, shard: str) -> Part:
    """The part that `--limit` and `--shard I/N` name. Raises ConfigError: there is none such."""
    if limit < 0:
        raise ConfigError(f"--limit {limit}: is less than 0")
    if not shard:
        return Part(limit)
    first, slash, last = shard.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ConfigError(f"--shard {shard}: is not of the form I/N, with I from 1 to N")
    return Part(limit, int(first) - 1, int(last))


def check_benchmark(name: str, folder: str | Path) -> BenchmarkTasks:
    """Look at what is there of a benchmark, and print it. Raises SourceError: it is none."""
    found = read_benchmark(name, folder, subtitles=True)
    print(found.summary())
    for place, reason in found.bad:
        print(f"  {place} {reason}")
    for file in found.files_missing():
        print(f"  not there: {file}")
    return found


def run_benchmarks(
    config: Config,
    model: str,
    folders: Mapping[str, str],
    modes: Sequence[Mode] = (),
    part: Part = Part(),
    name: str = "",
    skip_missing: bool = False,
    published: Sequence[str] = (),
) -> Path:
    """Play benchmarks with a policy and write what all policies scored on them; returns the page.

    Args:
        model: folder of a model, a JSONL file of saved responses, or `SERVER`.
        folders: by the benchmarks' names, where they lie.
        modes: empty takes `tools` where the config has tools, else `reasoning`.
        name: what the policy is called there; empty takes its folder's or the server's.
        skip_missing: whether to play what is there where files are not.
        published: names of `evals.published_rules.PUBLISHED`, or `all`, that the page tells too.

    Raises:
        ConfigError: a setting, or a mode, that makes no sense.
        SourceError: a benchmark cannot be read, or lacks files.
        RunFolderError: the policy answered under other settings.
        ResponseError: there is no such published rule.
    """
    saved = Path(model) if Path(model).is_file() else None
    if saved and (modes or len(folders) != 1):
        raise ConfigError(f"{model}: saved responses are to one benchmark, and have no --mode")
    settings = {SAVED: config} if saved else {mode: in_mode(config, mode) for mode in modes or [_mode_of(config)]}
    for changed in settings.values():
        check(changed, "eval")
    if model == SERVER:
        check_endpoint(config.eval.server, "eval.server")
    rules = rules_named(published)
    root = RunFolder.of(config, make=False).root / "benchmarks"
    need: Literal["all", "some", "none"] = "none" if saved else "some" if skip_missing else "all"
    sets = [_tasks(config, given, folder, root, need) for given, folder in folders.items()]
    if doubled := [name for name, count in Counter(found.name for found in sets).items() if count > 1]:
        raise ConfigError(f"--bench: {doubled[0]} is named twice; a run has one folder of each")
    label = name or _label(config, model)
    _require_label(label)
    require_judge(config)
    arms = []
    for mode, changed in settings.items():
        for tasks in sets:
            folder = root / tasks.name / label / mode
            _join(folder, changed, model)
            arms.append((f"{tasks.name}: {label}, {mode}", changed, part.of(tasks.tasks), AnswerLog(folder)))
    if saved:
        [(title, changed, chosen, log)] = arms
        with phase(title, len(chosen)) as bar:
            keep_saved(changed, saved, sets[0].tasks, chosen, log, partial(_step, bar))
    elif model == SERVER:
        for title, changed, chosen, log in arms:
            with phase(title, len(chosen)) as bar:
                play_on_server(changed, chosen, log, root / "replies", partial(_step, bar))
        print(spent(root / "replies" / SPENDING).summary())
    elif any(log.unanswered(chosen) for _, _, chosen, log in arms):
        start_ray(config)
        with players(config, model) as dispatcher:
            for title, changed, chosen, log in arms:
                with phase(title, len(chosen)) as bar:
                    play_on_engines(dispatcher, changed, chosen, log, partial(_step, bar))
    written = root / "benchmarks.md"
    results = _all_scores(config, root, rules)
    write_text(written, page(results, rules))
    pictures = written.with_suffix(".html")
    write_benchmarks(pictures, results, _wrong_ones(root))
    print(f"benchmarks: {written}, as pictures {pictures}")
    return written


def in_mode(config: Config, mode: Mode) -> Config:
    """The settings of a mode. Without tools all frames that an episode may have are in its first look."""
    episode = config.episode
    if mode == "tools":
        if not episode.tools:
            raise ConfigError("--mode tools: episode.tools is empty; name the tools that are on offer")
        return dataclasses.replace(config, episode=dataclasses.replace(episode, reasoning=True))
    frames = episode.max_frames or episode.prompt_max_frames
    bare = dataclasses.replace(episode, tools=[], reasoning=mode == "reasoning", prompt_max_frames=frames)
    return dataclasses.replace(config, episode=bare)


def _mode_of(config: Config) -> Mode:
    if not config.episode.reasoning:
        return "direct"
    return "tools" if config.episode.tools else "reasoning"


def _tasks(config: Config, name: str, folder: str, root: Path, need: Literal["all", "some", "none"]) -> BenchmarkTasks:
    """The questions of a benchmark, which are kept beside their answers. All of them need their files, or only those
    with files are asked, or none needs any, where nothing is played."""
    marks = None if need == "none" else root / benchmark_of(name).name / "marks"
    subtitles = config.episode.subtitles != "none" and need != "none"
    found = read_benchmark(name, folder, marks, config.eval.mark_kind, subtitles, need_files=need != "none")
    print(found.summary())
    if found.missing and need == "all":
        files = found.files_missing()
        raise SourceError(
            f"{folder}: {len(files)} files of {found.name} are not there, the first {files[0]}; `videoseeker bench "
            f"check {name} {folder}` lists them; with --skip-missing the rest is played"
        )
    if not found.tasks:
        first = f"; the first, {' '.join(found.bad[0])}" if found.bad else ""
        raise SourceError(f"{folder}: holds no question of {found.name} that can be played{first}")
    _require_same(root / found.name, found)
    save_tasks(root / found.name / TASKS, found.tasks)
    return found


def _require_same(folder: Path, tasks: BenchmarkTasks) -> None:
    """Raises RunFolderError: what is kept there are other questions."""
    if not (kept := folder / TASKS).exists():
        return
    known = {(task.id, task.question) for task in load_tasks(kept)}
    if not any((task.id, task.question) in known for task in tasks.tasks):
        raise RunFolderError(
            f"{folder}: holds other questions of that name; choose another name for the run, or remove that folder"
        )


def _require_label(label: str) -> None:
    if not re.fullmatch(r"[\w][\w. -]{0,79}", label) or label == "marks":
        raise ConfigError(f"--as {label!r}: a name has letters, digits, spaces, '.', '-' and '_', at most 80")


def _label(config: Config, model: str) -> str:
    if model == SERVER:
        return re.sub(r"[^\w.-]+", "-", config.eval.server.model)
    resolved = Path(model).resolve()
    if resolved.is_file():
        return re.sub(r"[^\w.-]+", "-", resolved.stem)
    return "-".join(part for part in resolved.parts[-3:] if part != "/")


def _join(folder: Path, config: Config, model: str) -> None:
    """Note the settings of a folder's answers. Raises RunFolderError: it has some that were given with others."""
    if Path(model).is_file():
        asked: object = hashlib.sha256(Path(model).read_bytes()).hexdigest()
    else:
        asked = deciding(config.eval.server) if model == SERVER else settings_of(config, model, GREEDY)
    judged = deciding(config.judge.model) if config.judge.by == "model" else "rules"
    what = json.dumps([asked, judged, dataclasses.asdict(config.episode)], sort_keys=True, default=str)
    settings = hashlib.sha256(what.encode()).hexdigest()
    kept = folder / "settings"
    with alone(folder / "join"):
        if not kept.exists() or AnswerLog(folder).is_empty():
            write_text(kept, settings)
        elif kept.read_text() != settings and Path(model).is_file():
            raise RunFolderError(
                f"{folder}: holds the answers of another file of that name, or of this one before it was changed; give "
                "this one a name of its own with --as, or remove that folder"
            )
        elif kept.read_text() != settings:
            raise RunFolderError(
                f"{folder}: holds answers that were given with another model or other settings; give this one a name "
                "of its own with --as, or remove that folder"
            )


def _all_scores(config: Config, root: Path, published: Sequence[str]) -> Results:
    """The scores of every policy and mode that answered questions of a benchmark of this run."""
    found: Results = {}
    for file in sorted(root.glob(f"*/{TASKS}")):
        tasks = load_tasks(file)
        for folder in sorted(path for path in file.parent.glob("*/*") if path.name in (*MODES, SAVED)):
            scores = benchmark_scores(tasks, AnswerLog(folder), published, config.seed)
            if scores is not None:
                found.setdefault(file.parent.name, {})[folder.parent.name, folder.name] = scores
    return found


def _wrong_ones(root: Path) -> dict[str, list[Trajectory]]:
    """Of each benchmark some episodes that were answered wrongly, of one policy and mode, the one that used its tools
    most, and of unlike dimensions as far as there are."""
    found: dict[str, list[Trajectory]] = {}
    for file in sorted(root.glob(f"*/{TASKS}")):
        tasks = load_tasks(file)
        most = -1
        for folder in sorted(path for path in file.parent.glob("*/*") if path.name in (*MODES, SAVED)):
            calls, first = 0, dict[str, Trajectory]()
            for answered in AnswerLog(folder).answered(tasks):
                if (episode := answered.episode) is not None:
                    calls += len(episode.calls)
                    if accuracy_of(episode) < 1:
                        first.setdefault(episode.dimension, episode)
            if first and calls > most:
                most, found[file.parent.name] = calls, [*first.values()][:WRONG_SHOWN]
    return found


def _step(bar: PhaseBar, done: int) -> None:
    bar.step(done, {})
