"""The command line. It reads a config, calls one function of a room, and turns errors into one sentence.

Invariant: whatever ends a command, Ray is shut down by it, and what the rooms say went wrong is one line on stderr with
exit status 2 (`--traceback` shows where); Ctrl-C and SIGTERM are 130.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import click
from click.shell_completion import shell_complete

from actors.errors import root_cause
from configs import Config, ConfigError, load_config, to_yaml
from configs.rules import Phase, check

ROOMS = ("configs", "storage", "pages", "endpoint", "tools", "env", "actors", "synth", "learner", "evals", "recipes")
DEMO = Path(__file__).parent / "configs" / "demo.yaml"
COMPLETION = "_VIDEOSEEKER_COMPLETE"
MARK = "for example rectangle:t=3.2,x=40,y=52,w=30,h=24"
SERVER = "http://{0.host}:{0.port}".format(Config().serve)

TRACEBACK = click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where an error came from.")
CHECKPOINT = click.Argument(["checkpoint"])
"""Folder of a model, or a checkpoint that holds one."""
RESUME = click.Option(["--resume"], is_flag=True, help="Go on from the run's newest checkpoint.")
Mode = Literal["direct", "reasoning", "tools"]
PLAYED = (
    click.Option(["--bench"], multiple=True, metavar="NAME=FOLDER", help="A published benchmark; repeat it."),
    click.Option(["--mode"], multiple=True, type=click.Choice(["direct", "reasoning", "tools"]), help="Repeat it."),
    click.Option(["--limit"], type=int, default=0, help="Most questions of each benchmark."),
    click.Option(["--shard"], default="", metavar="I/N", help="Only the I-th of N parts of them."),
    click.Option(["--as", "label"], default="", help="What the policy is called in the table."),
    click.Option(["--skip-missing"], is_flag=True, help="Play what is there, where files are missing."),
    click.Option(["--also-scored-as", "published"], multiple=True, metavar="RULE", help="As `score` has it."),
)
SETTINGS = click.Argument(["settings"], nargs=-1, metavar="[CONFIG.yaml] [key=value]...")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if instruction := os.environ.get(COMPLETION):
        return shell_complete(cli, {}, "videoseeker", COMPLETION, instruction)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # before it is imported, which reads it
    # To be asked to end is Ctrl-C by another name; shells start background jobs deaf to Ctrl-C itself.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with cli.make_context("videoseeker", words) as context:
            return cli.invoke(context) or 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        print("videoseeker: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        ours = _our_error(error)
        if ours is None or "--traceback" in words:
            raise
        print(f"videoseeker: {' '.join(str(ours).split())}", file=sys.stderr)
        return 2
    finally:
        if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():
            ray.shutdown()


class InOrder(click.Group):
    """Lists its commands as they are written here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class WithDefault(InOrder):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [next(iter(self.commands)), *args])


@click.group(cls=InOrder, context_settings={"max_content_width": 100})
def cli() -> None:
    """Train, measure and serve agents that answer questions about a marked instance in a video."""


@cli.group(cls=WithDefault)
def synth() -> None:
    """Make tasks from footage or a procedural world, and look at them.

    `synth CONFIG.yaml key=value` is short for `synth make CONFIG.yaml key=value`.
    """


def configured(
    phase: Phase,
    *params: click.Parameter,
    group: click.Group = cli,
    name: str | None = None,
    plan: Literal["sft", "grpo"] | None = None,
    default: Path | None = None,
    makes_a_run: bool = True,
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command that takes a config file and overrides, and a `--dry-run` which prints what they resolve to.

    Args:
        phase: What the settings are to be used for; those that contradict each other are refused first.
        params: More of the command's own.
        plan: Whose plan a dry run prints as comments after the config.
        default: The config file where none is named; without one, that of the run which made the checkpoint.
        makes_a_run: Whether it writes what other commands on the same run would read, so that they keep out.
    """
    shows = f"Print the resolved config{' and what it takes' if plan else ''} and stop."
    dry = click.Option(["--dry-run"], is_flag=True, help=shows)

    def decorate(run: Callable[..., None]) -> click.Command:
        def command(settings: tuple[str, ...], dry_run: bool, **rest: Any) -> None:
            config = _config(settings, rest.get("checkpoint"), default)
            check(config, phase)
            if not dry_run and makes_a_run:
                from recipes.folder import RunFolder, alone

                with alone(RunFolder.of(config, make=False).root), _judged(config, phase) as config:
                    return run(config, **rest)
            if not dry_run:
                with _judged(config, phase) as config:
                    return run(config, **rest)
            print(to_yaml(config), end="")
            if plan:
                from recipes.preflight import print_plan

                print_plan(config, plan)

        command.__doc__ = run.__doc__
        every = [*params, SETTINGS, dry, TRACEBACK]
        return group.command(name or run.__name__.strip("_"), params=every)(command)

    return decorate


def _judged(config: Config, phase: Phase) -> AbstractContextManager[Config]:
    """The config, with the judge's address where it has one served for a phase that judges."""
    if not config.judge.serve.model or phase in ("synth", "serve"):
        return nullcontext(config)
    from recipes.judging import served_judge

    return served_judge(config)


@configured("synth", group=synth)
def make(config: Config) -> None:
    """Make the tasks that a config describes (the default)."""
    from recipes.data import run_synth
    from recipes.folder import RunFolder

    there = RunFolder.of(config).train.exists()
    folder = run_synth(config)
    print(f"{folder.data}: tasks are there already" if there else f"tasks: {folder.data}")


@synth.command(params=[TRACEBACK])
@click.argument("folder", type=click.Path(path_type=Path))
def inspect(folder: Path) -> None:
    """Show a folder of data, e.g. runs/mine/data, on a page."""
    from synth.output.gallery import write_gallery
    from synth.synthesis import STAGES_FOLDER

    folder = folder.absolute()
    print(f"gallery: {write_gallery(folder / STAGES_FOLDER, folder / 'gallery.html')}")


@configured("sft", plan="sft")
def sft(config: Config) -> None:
    """Let the teacher play, and fine-tune on what it got right."""
    from recipes.phases import run_cold_start

    print(f"policy: {run_cold_start(config).sft}")


@configured("difficulty", CHECKPOINT)
def difficulty(config: Config, checkpoint: str) -> None:
    """Keep for GRPO the tasks that a model only sometimes gets right."""
    model = str(_model_dir(checkpoint))
    from recipes.difficulty import run_difficulty

    run_difficulty(config, model)


@configured("grpo", RESUME, plan="grpo")
def train(config: Config, resume: bool) -> None:
    """Train with GRPO, after `sft` if that was not run."""
    from recipes.phases import run_train

    print(f"policy: {run_train(config, resume=resume).policy}")


@configured("eval", CHECKPOINT, *PLAYED, name="eval", makes_a_run=False)
def evaluate(
    config: Config,
    checkpoint: str,
    bench: tuple[str, ...],
    mode: tuple[Mode, ...],
    limit: int,
    shard: str,
    label: str,
    skip_missing: bool,
    published: tuple[str, ...],
) -> None:
    """Play the held-out tasks with a model, or published benchmarks.

    Beside --bench CHECKPOINT may be the word `server`, for the model of eval.server, or a JSONL file of responses that
    were saved, with id and response.
    """
    if not bench:
        if mode or limit or shard or label or skip_missing or published:
            raise ConfigError("those options are for benchmarks; name one with --bench NAME=FOLDER")
        model = str(_model_dir(checkpoint))
        from recipes.phases import run_eval

        run_eval(config, model)
        return
    from recipes.studies.benchmarks import SERVER, part_of, run_benchmarks

    model = checkpoint if checkpoint == SERVER or Path(checkpoint).is_file() else str(_model_dir(checkpoint))
    folders = dict(_named_folder(word) for word in bench)
    run_benchmarks(config, model, folders, mode, part_of(limit, shard), label, skip_missing, published)


@cli.group()
def bench() -> None:
    """Look at published benchmarks."""


@bench.command(name="check", params=[TRACEBACK])
@click.argument("name")
@click.argument("folder")
def check_bench(name: str, folder: str) -> int:
    """Look whether a benchmark is all there: NAME as its authors write it, FOLDER where it was unpacked."""
    from recipes.studies.benchmarks import check_benchmark

    found = check_benchmark(name, folder)
    return 1 if found.bad or found.missing or not found.tasks else 0


@cli.command(params=[click.Argument(["responses"]), SETTINGS, TRACEBACK])
@click.option("--tasks", help="A task file that has the questions; else each row has its own.")
@click.option("--also-scored-as", "published", multiple=True, metavar="RULE", help="What a published script would say.")
def score(settings: tuple[str, ...], responses: str, tasks: str | None, published: tuple[str, ...]) -> None:
    """Score saved responses of any model.

    RESPONSES is a JSONL file of objects with id, response, answer, video and, for choices, options. With
    judge.by=model, open answers that the rules are not certain of are judged by the model of judge.model.
    """
    from rich.console import Console

    from recipes.studies.saved_responses import print_scores

    config = _config(settings, None, None)
    check(config, "judge")
    with _judged(config, "judge") as config:
        print_scores(config, responses, tasks, published, Console())


@cli.command(params=[TRACEBACK])
@click.argument("first")
@click.argument("second")
@click.option("--page", type=click.Path(path_type=Path), help="Write the flipped questions with both episodes there.")
def compare(first: str, second: str, page: Path | None) -> None:
    """Compare two files of episodes, or folders of a benchmark's answers, on the questions that both have."""
    from rich.console import Console

    from recipes.studies.compared import print_comparison

    print_comparison(first, second, Console(), page)


@configured("serve", CHECKPOINT, makes_a_run=False)
def serve(config: Config, checkpoint: str) -> None:
    """Serve a model with a web page, on Ray Serve."""
    model_dir = _model_dir(checkpoint)
    from actors.serving.serve import serve as serve_agent

    serve_agent(config, str(model_dir), lambda url: print(f"serving {model_dir} at {url}  (Ctrl-C stops)", flush=True))


@configured("grpo", plan="grpo", default=DEMO)
def demo(config: Config) -> None:
    """Go the whole way, small: from a world to a report."""
    from recipes.studies.demo import run_demo

    run_demo(config)


@cli.group(cls=InOrder)
def ablate() -> None:
    """Train a recipe with parts of it left out or changed, over several seeds, and write what each is worth."""


@configured("ablation", group=ablate, name="tools")
def _tools(config: Config) -> None:
    """With each tool alone, with both and with none (paper, Table 4)."""
    from recipes.studies.ablations.tools import ablate_tools

    ablate_tools(config)


@configured("ablation", group=ablate, name="reward")
def _reward(config: Config) -> None:
    """With each part of the reward, from one SFT (paper, section 3.3)."""
    from recipes.studies.ablations.reward import ablate_reward

    ablate_reward(config)


@configured("ablation", group=ablate, name="phases")
def _phases(config: Config) -> None:
    """With SFT alone, with GRPO alone, without tools and with, and with both phases (paper, Table 5)."""
    from recipes.studies.ablations.phases import ablate_phases

    ablate_phases(config)


@configured("ablation", group=ablate, name="data")
def _data(config: Config) -> None:
    """With an eighth of the teacher's episodes, and more (paper, Figure 3)."""
    from recipes.studies.ablations.lessons import ablate_data

    ablate_data(config)


@configured("ablation", group=ablate, name="teacher")
def _teacher(config: Config) -> None:
    """With a stronger teacher, in the student's words and in others (paper, Figure 5)."""
    from recipes.studies.ablations.lessons import ablate_teacher

    ablate_teacher(config)


@configured("ablation", group=ablate, name="answers")
def _answers(config: Config) -> None:
    """With open questions and with multiple choice, from one SFT (paper, Table 6)."""
    from recipes.studies.ablations.answers import ablate_answers

    ablate_answers(config)


@cli.command(params=[TRACEBACK])
@click.argument("checkpoint")
@click.argument("out")
@click.option("--model", help="The model that the run began with, if it has moved.")
def export(checkpoint: str, out: str, model: str | None) -> None:
    """Make a Hugging Face model of a checkpoint.

    CHECKPOINT is a step-NNNNNN folder of a run's checkpoints, OUT the folder to write.
    """
    from learner.checkpoints.export import export_checkpoint

    print(f"model: {export_checkpoint(checkpoint, out, model)}")


@cli.command(params=[TRACEBACK])
@click.argument("question")
@click.option("--video", required=True, help="A video file, or the name of one in the server's folder.")
@click.option("--mark", required=True, help=MARK)
@click.option("--option", "options", multiple=True, help="An option of a multiple choice question; repeat it.")
@click.option("--server", default=SERVER, show_default=True)
def ask(question: str, video: str, mark: str, options: tuple[str, ...], server: str) -> int:
    """Ask a running server about a video."""
    from rich.console import Console

    from actors.serving.ask import ask as ask_server

    return 1 if ask_server(server, video, mark, question, options, Console()) is None else 0


@cli.group()
def judge() -> None:
    """Look at the judge of open answers."""


@judge.command(
    params=[click.Option(["--pairs"], help="Labelled pairs; else those that come along."), SETTINGS, TRACEBACK]
)
def calibrate(settings: tuple[str, ...], pairs: str | None) -> None:
    """Compare the judge with what people said of labelled answers.

    With judge.by=model, the model of judge.model is asked too.
    """
    from rich.console import Console

    from recipes.studies.calibration import calibrate as compare

    config = _config(settings, None, None)
    check(config, "judge")
    with _judged(config, "judge") as config:
        compare(config, pairs, Console())


@cli.group()
def tools() -> None:
    """Use the perception tools by themselves."""


@tools.command("serve", params=[TRACEBACK])
@click.option("--video", required=True, help="A video file.")
@click.option("--mark", "marks", multiple=True, help=MARK)
@click.option("--config", help="A config file whose episode.* limits the calls.")
@click.option("--http", type=int, metavar="PORT", help="Serve over HTTP at this port; else over stdio.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on over HTTP.")
def serve_tools(video: str, marks: tuple[str, ...], config: str | None, http: int | None, host: str) -> None:
    """Offer the tools over the Model Context Protocol."""
    from recipes.serve_tools import serve_tools

    serve_tools(video, marks, load_config(config).episode, None if http is None else (host, http))


@cli.command(params=[TRACEBACK])
@click.argument("file")
@click.option("--episode", default=0, help="Which one, from 0; negative counts from the end.")
def replay(file: str, episode: int) -> None:
    """Show an episode of a JSONL file, or of a folder of lessons, in the terminal."""
    from rich.console import Console

    from env.lessons import load_lesson
    from env.trajectory import load_trajectory
    from evals.pages.replay import print_episode

    print_episode(load_lesson(file, episode) if Path(file).is_dir() else load_trajectory(file, episode), Console())


@cli.command(params=[TRACEBACK])
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write one self-contained file instead of serving.")
@click.option("--most", default=200, show_default=True, type=click.IntRange(1), help="Episodes in that file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8010, show_default=True, type=click.IntRange(1, 65535), help="Port of the page.")
def browse(run: Path, out: Path | None, most: int, host: str, port: int) -> None:
    """Look through the episodes of a run: training and held out, alone, as groups, across steps."""
    from recipes.browse import serve_browser, write_browser

    if out is None:
        serve_browser(run, host, port)
        return
    write_browser(run, out, most)
    print(f"episodes: {out}")


def _config(settings: Sequence[str], checkpoint: str | bool | None, default: Path | None) -> Config:
    """The config file and overrides of a command; without a file, that of the run which made the checkpoint."""
    files = [word for word in settings if "=" not in word]
    if len(files) > 1:
        raise ConfigError(f"one config file at most, not {' and '.join(files)}; overrides are of the form key=value")
    path = files[0] if files else default
    if path is None and isinstance(checkpoint, str):
        near = [folder / "config.yaml" for folder in Path(checkpoint).resolve().parents[:3]]
        path = next((file for file in near if file.is_file()), None)
    return load_config(path, [word for word in settings if "=" in word])


def _named_folder(word: str) -> tuple[str, str]:
    name, equals, folder = word.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"--bench {word}: is not of the form NAME=FOLDER, e.g. V2P-Bench=data/V2P-Bench")
    return name, folder


def _model_dir(checkpoint: str) -> Path:
    """The Hugging Face folder that `checkpoint` is or holds."""
    folder = Path(checkpoint)
    if (folder / "config.json").is_file():
        return folder
    held = sorted(path.parent for path in folder.glob("*/config.json"))
    if len(held) != 1:
        names = ", ".join(path.name for path in held)
        found = f"holds several models ({names}); name one" if held else "holds no model"
        if not folder.exists():
            found = "no such folder; load a model of the Hugging Face hub first: hf download NAME --local-dir FOLDER"
            if folder.suffix == ".jsonl":
                found = "no such file of saved responses"
        raise ConfigError(f"{checkpoint}: {found}")
    return held[0]


def _our_error(error: BaseException) -> BaseException | None:
    """The error if it is one for people: of a room's class, a plain ValueError that a room raised, or a full disk."""
    error = root_cause(error)
    if any(kind.__module__.split(".")[0] in ROOMS for kind in type(error).__mro__):
        return error
    if os.strerror(errno.ENOSPC) in str(error):  # libraries wrap it in errors of their own
        return error
    if type(error) is not ValueError or error.__traceback__ is None:
        return None
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    return error if last.tb_frame.f_globals.get("__name__", "").split(".")[0] in ROOMS else None


if __name__ == "__main__":
    sys.exit(main())
