"""An episode in the terminal: what the agent was shown, thought, asked for, saw and answered."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.color import Color
from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.style import Style
from rich.text import Text

from env.transcript import Trajectory
from env.turn_views import ShownCall, ShownFrame, Step, steps
from evals.pages.filmstrip import spread
from evals.score import accuracy_of
from tools.decoding.video import VideoError, read_frame

THUMBNAIL_COLUMNS = 24
"""Width of a thumbnail, characters; a character is one pixel wide and two high."""
THUMBNAILS = 12
"""Most thumbnails of one look, evenly spread over its frames."""


class ReplayError(ValueError):
    """An episode file that cannot be replayed, said in one sentence."""


def load_trajectory(path: str | Path, index: int = 0) -> Trajectory:
    """An episode of a JSONL file of `Trajectory.to_dict()`.

    Args:
        path: The file.
        index: Which episode, from 0; negative counts from the end.

    Raises:
        ReplayError: no such file, no such episode, or a line that is none.
    """
    try:
        lines = [(n, line) for n, line in enumerate(Path(path).read_text().splitlines(), 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"{path}: cannot be read ({error})") from None
    if not -len(lines) <= index < len(lines):
        raise ReplayError(f"{path}: has no episode {index}; it holds {len(lines)}")
    number, line = lines[index]
    try:
        return Trajectory.from_dict(json.loads(line))
    except (ValueError, TypeError, KeyError) as error:
        raise ReplayError(f"{path}:{number}: not an episode ({type(error).__name__}: {error})") from None


def print_episode(trajectory: Trajectory, console: Console) -> None:
    """Print an episode; with thumbnails of its frames where the terminal has 256 colours or more."""
    title = escape(f"{trajectory.dimension} · {trajectory.task_id}".strip(" ·"))
    console.print(Rule(f"[bold]{title}[/]", align="left", style="dim"))
    console.print(Text(trajectory.question or "(question not recorded)", style="bold"))
    console.print()
    _print_frames("first look", [ShownFrame(ref, ref.time_s) for ref in trajectory.prompt_frames], console)
    for number, step in enumerate(steps(trajectory), 1):
        _print_step(number, step, console)
    console.print(Rule(style="dim"))
    console.print(_verdict(trajectory))
    console.print(_rewards(trajectory))


def _print_step(number: int, step: Step, console: Console) -> None:
    console.print(Rule(f"[dim]turn {number}[/]", align="left", style="dim"))
    if step.thought:
        console.print(Text(step.thought, style="italic"))
    for call in step.calls:
        console.print(_call(call))
    if step.answer is not None:
        console.print(Text.assemble(("answer  ", "dim"), (step.answer, "bold")))
    if step.error:
        console.print(Text(f"malformed: {step.error}", style="red"))
        console.print(Text(step.text, style="dim"))
    if step.observation:
        console.print(Text(step.observation, style="cyan"))
    _print_frames("frames", step.frames, console)
    console.print()


def _call(call: ShownCall) -> Text:
    line = Text.assemble(("→ ", "dim"), (str(call), "yellow"))
    if call.record is None:
        line.append("  not executed", "red")
    elif not call.record.ok:
        line.append(f"  ✗ {call.record.error or 'failed'}", "red")
    else:
        line.append(f"  {call.record.seconds:.3f} s", "dim")
    return line


def _print_frames(name: str, frames: Sequence[ShownFrame], console: Console) -> None:
    if not frames:
        return
    console.print(Text(f"{name}: {', '.join(_time(frame) for frame in frames)}", style="dim"))
    if console.color_system in ("256", "truecolor"):
        shown = spread(frames, THUMBNAILS)
        console.print(Columns([_thumbnail(frame) for frame in shown], padding=(0, 1)))


def _time(frame: ShownFrame) -> str:
    return "time unknown" if frame.time_s is None else f"{frame.time_s:.2f} s"


def _thumbnail(frame: ShownFrame) -> Text:
    """The frame in half blocks, its time below: the upper pixel is a block's colour, the lower its background."""
    try:
        pixels = read_frame(frame.ref)
    except VideoError:
        return Text("not readable".ljust(THUMBNAIL_COLUMNS) + f"\n{_time(frame)}", style="red")
    rows = max(1, round(THUMBNAIL_COLUMNS * pixels.shape[0] / pixels.shape[1] / 2))
    image = np.asarray(Image.fromarray(pixels).resize((THUMBNAIL_COLUMNS, 2 * rows), Image.Resampling.BOX))
    text = Text(no_wrap=True)
    for upper, lower in zip(image[::2], image[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text.append(_time(frame), "dim")


def _verdict(trajectory: Trajectory) -> Text:
    accuracy = accuracy_of(trajectory)
    given = f"no answer ({trajectory.stop})" if trajectory.answer is None else trajectory.answer
    mark, style = ("✓", "green") if accuracy == 1 else ("✗", "red") if accuracy == 0 else ("◐", "yellow")
    return Text.assemble((f"{mark} {given}", f"bold {style}"), ("  right answer: ", "dim"), trajectory.expected)


def _rewards(trajectory: Trajectory) -> Text:
    rewards = trajectory.rewards
    parts = {
        "reward": rewards.total,
        "accuracy": rewards.accuracy,
        "format": rewards.format,
        "parsimony": rewards.parsimony,
    }
    line = Text("  ".join(f"{name} {value:.2f}" for name, value in parts.items()), style="dim")
    tokens = sum(trajectory.transcript.sampled)
    return line.append(f"  {len(trajectory.calls)} calls  {tokens} tokens  {trajectory.seconds:.1f} s", "dim")
