"""The command line. It reads a config, calls one function of a room, and turns errors into one sentence.

Invariant: whatever ends a command, Ray is shut down by it, and what the rooms say went wrong is one line on stderr with
exit status 2 (`--traceback` shows where); Ctrl-C and SIGTERM are 130.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.errors import root_cause
from configs import Config, ConfigError, load_config, to_yaml

ROOMS = ("configs", "storage", "endpoint", "tools", "env", "actors", "synth", "learner", "evals", "recipes")
DEMO = Path(__file__).parent / "configs" / "demo.yaml"
Command = Callable[[argparse.Namespace], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    args = _arguments(argv)
    # To be asked to end is Ctrl-C by another name; shells start background jobs deaf to Ctrl-C itself.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.command(args) or 0
    except KeyboardInterrupt:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        print("videoseeker: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        ours = _our_error(error)
        if ours is None or args.traceback:
            raise
        print(f"videoseeker: {' '.join(str(ours).split())}", file=sys.stderr)
        return 2
    finally:
        _shut_ray_down()


def _synth(args: argparse.Namespace) -> None:
    if args.settings[:1] == ["inspect"]:
        return _inspect(args)
    config = _config(args)
    from recipes.data import run_synth

    run_synth(config)


def _inspect(args: argparse.Namespace) -> None:
    if len(args.settings) != 2:
        raise ConfigError("synth inspect takes one folder of data, e.g. runs/mine/data")
    from synth.output.gallery import write_gallery
    from synth.synthesis import STAGES_FOLDER

    folder = Path(args.settings[1]).absolute()
    print(f"gallery: {write_gallery(folder / STAGES_FOLDER, folder / 'gallery.html')}")


def _sft(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_sft_stage

    run_sft_stage(config)


def _train(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_train

    run_train(config, resume=args.resume)


def _eval(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_eval

    run_eval(config, str(_model_dir(args.checkpoint)))


def _difficulty(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_difficulty

    run_difficulty(config, str(_model_dir(args.checkpoint)))


def _demo(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_demo

    run_demo(config)


def _results(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_results

    run_results(config)


def _guessing(args: argparse.Namespace) -> None:
    config = _config(args)
    from recipes.studies.demo import run_guessing

    run_guessing(config)


def _serve(args: argparse.Namespace) -> None:
    config, model_dir = _config(args), _model_dir(args.checkpoint)
    from actors.serving.serve import serve

    serve(config, str(model_dir), lambda url: print(f"serving {model_dir} at {url}  (Ctrl-C stops)", flush=True))


def _export(args: argparse.Namespace) -> None:
    from learner.checkpoints.export import export_checkpoint

    print(f"model: {export_checkpoint(args.checkpoint, args.out, args.model)}")


def _ask(args: argparse.Namespace) -> int:
    from rich.console import Console

    from actors.serving.ask import ask

    answer = ask(args.server, args.video, args.mark, args.question, args.option, Console())
    return 1 if answer is None else 0


def _serve_tools(args: argparse.Namespace) -> None:
    import tempfile

    from actors.serving.mark import draw_mark, parse_mark
    from tools.decoding.video import decode_process, open_video
    from tools.scene import Limits, Scene
    from tools.server import serve_http, serve_stdio, tool_server

    episode = load_config(args.config).episode
    video = open_video(args.video)
    with tempfile.TemporaryDirectory(prefix="videoseeker-") as folder:
        marks = []
        for i, text in enumerate(args.mark):
            image = Path(folder) / f"mark{i}.png"
            marks.append(draw_mark(parse_mark(text), video, image, episode.tool_timeout_s))
        server = tool_server(Scene(args.video, tuple(marks)), Limits.of(episode))
        if args.http is not None:
            serve_http(server, args.host, args.http, lambda url: print(f"tools at {url}  (Ctrl-C stops)", flush=True))
            return
        # asyncio would answer Ctrl-C by waiting for the thread that reads stdin.
        signal.signal(signal.SIGINT, lambda *_: signal.default_int_handler(signal.SIGINT, None))
        try:
            serve_stdio(server)
            return
        except KeyboardInterrupt:
            print("videoseeker: interrupted", file=sys.stderr, flush=True)
    # The thread that waits for stdin's next line cannot be ended, and would keep the process.
    decode_process().close()
    os._exit(130)


def _replay(args: argparse.Namespace) -> None:
    from rich.console import Console

    from env.trajectory import load_trajectory
    from evals.pages.replay import print_episode

    print_episode(load_trajectory(args.file, args.episode), Console())


CONFIGURED: dict[str, tuple[Command, str]] = {
    "synth": (_synth, "make tasks from footage or the procedural world; `synth inspect FOLDER` shows them on a page"),
    "sft": (_sft, "let the teacher play, and fine-tune on what it got right"),
    "difficulty": (_difficulty, "keep for GRPO the tasks that a model gets neither always right nor always wrong"),
    "train": (_train, "train with GRPO"),
    "eval": (_eval, "play the held-out tasks with a model"),
    "serve": (_serve, "serve a model with a web page, on Ray Serve"),
    "demo": (_demo, "the whole loop, small: world, teacher, SFT, GRPO, evaluation, report"),
    "results": (_results, "train and evaluate every arm of the ablations"),
    "guessing": (_guessing, "GRPO on open questions against GRPO on multiple choice, which rewards guesses"),
}
"""The commands that take a config."""
PLANNED = ("sft", "train", "demo")
"""Those whose dry run tells what the training will take, as comments after the config."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an error came from")
    parser = argparse.ArgumentParser("videoseeker", description="Agents that answer questions about a marked instance")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, help_) in CONFIGURED.items():
        sub = commands.add_parser(name, help=help_, description=help_, parents=[common])
        sub.set_defaults(command=_or_dry_run(name, command), default_config=DEMO if name == "demo" else None)
        if name in ("difficulty", "eval", "serve"):
            sub.add_argument("checkpoint", help="folder of a model, or a checkpoint that holds one")
        sub.add_argument("settings", nargs="*", metavar="CONFIG.yaml key=value", help="a config file, then overrides")
        dry_run = f"print the resolved config{' and what it takes' if name in PLANNED else ''} and stop"
        sub.add_argument("--dry-run", action="store_true", help=dry_run)
        if name == "train":
            sub.add_argument("--resume", action="store_true", help="go on from the run's newest checkpoint")
    _add_export(commands, common)
    _add_ask(commands, common)
    _add_tools(commands, common)
    replay = commands.add_parser("replay", help="show an episode in the terminal", parents=[common])
    replay.add_argument("file", help="JSONL file of episodes")
    replay.add_argument("--episode", type=int, default=0, help="which one, from 0; negative counts from the end")
    replay.set_defaults(command=_replay)
    args, rest = parser.parse_known_args(argv)
    # argparse leaves overrides that stand after an option unread.
    unread = [word for word in rest if word.startswith("-") or not hasattr(args, "settings")]
    if unread:
        parser.error(f"unrecognized arguments: {' '.join(unread)}")
    if rest:
        args.settings += rest
    return args


def _add_export(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "make a Hugging Face model folder of a GRPO checkpoint"
    export = commands.add_parser("export", help=text, description=text, parents=[common])
    export.add_argument("checkpoint", help="a step-NNNNNN folder of a run's checkpoints")
    export.add_argument("out", help="folder to write")
    export.add_argument("--model", help="the model that the run began with, if it has moved")
    export.set_defaults(command=_export)


def _add_ask(commands: Any, common: argparse.ArgumentParser) -> None:
    serve = Config().serve
    ask = commands.add_parser("ask", help="ask a running server about a video", parents=[common])
    ask.add_argument("question")
    ask.add_argument("--video", required=True, help="a video file, or the name of one in the server's folder")
    ask.add_argument("--mark", required=True, help="for example rectangle:t=3.2,x=40,y=52,w=30,h=24")
    ask.add_argument("--option", action="append", default=[], help="an option of a multiple choice question; repeat it")
    ask.add_argument("--server", default=f"http://{serve.host}:{serve.port}", help="default: %(default)s")
    ask.set_defaults(command=_ask)


def _add_tools(commands: Any, common: argparse.ArgumentParser) -> None:
    tools = commands.add_parser("tools", help="the perception tools by themselves")
    serve = tools.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "serve", help="offer the tools on a video over the Model Context Protocol", parents=[common]
    )
    serve.add_argument("--video", required=True, help="a video file")
    serve.add_argument("--mark", action="append", default=[], help="for example rectangle:t=3.2,x=40,y=52,w=30,h=24")
    serve.add_argument("--config", help="a config file whose episode.* limits the calls")
    serve.add_argument("--http", type=int, metavar="PORT", help="serve over HTTP at this port; else over stdio")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on over HTTP, default: %(default)s")
    serve.set_defaults(command=_serve_tools)


def _or_dry_run(name: str, command: Command) -> Command:
    def run(args: argparse.Namespace) -> int | None:
        if not args.dry_run:
            return command(args)
        config = _config(args)
        print(to_yaml(config), end="")
        if name in PLANNED:
            from recipes.preflight import print_plan

            print_plan(config, "sft" if name == "sft" else "grpo")
        return 0

    return run


def _config(args: argparse.Namespace) -> Config:
    """The config file and overrides of a command; without a file, that of the run which made the checkpoint."""
    files = [word for word in args.settings if "=" not in word]
    if len(files) > 1:
        raise ConfigError(f"one config file at most, not {' and '.join(files)}; overrides are of the form key=value")
    path = files[0] if files else args.default_config
    if path is None and hasattr(args, "checkpoint"):
        near = [folder / "config.yaml" for folder in Path(args.checkpoint).resolve().parents[:3]]
        path = next((file for file in near if file.is_file()), None)
    return load_config(path, [word for word in args.settings if "=" in word])


def _model_dir(checkpoint: str) -> Path:
    """The Hugging Face folder that `checkpoint` is or holds."""
    folder = Path(checkpoint)
    if (folder / "config.json").is_file():
        return folder
    held = sorted(path.parent for path in folder.glob("*/config.json"))
    if len(held) != 1:
        found = f"several models ({', '.join(path.name for path in held)}); name one" if held else "no model"
        raise ConfigError(f"{checkpoint}: holds {found}")
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


def _shut_ray_down() -> None:
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
