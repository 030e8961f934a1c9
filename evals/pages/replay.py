"""An episode in the terminal: what the agent was shown, thought, asked for, saw and answered."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from rich.color import Color
from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.style import Style
from rich.text import Text

from env.trajectory import REWARD_PARTS, Trajectory
from env.turn_views import CallView, FrameView, TurnView, turn_views
from evals.pages.filmstrip import spread
from evals.score import accuracy_of
from tools.decoding.video import VideoError, read_frame

THUMBNAIL_COLUMNS = 24
"""Width of a thumbnail, characters; a character is one pixel wide and two high."""
THUMBNAILS = 12
"""Most thumbnails of one look, evenly spread over its frames."""


def print_episode(trajectory: Trajectory, console: Console) -> None:
    """Print an episode; with thumbnails of its frames where the terminal has 256 colours or more."""
    title = escape(f"{trajectory.dimension} · {trajectory.task_id}".strip(" ·"))
    console.print(Rule(f"[bold]{title}[/]", align="left", style="dim"))
    console.print(Text(trajectory.question or "(question not recorded)", style="bold"))
    console.print()
    _print_frames("first look", [FrameView(ref, ref.time_s) for ref in trajectory.prompt_frames], console)
    for number, turn in enumerate(turn_views(trajectory), 1):
        _print_turn(number, turn, console)
    console.print(Rule(style="dim"))
    console.print(_verdict(trajectory))
    console.print(_rewards(trajectory))


def _print_turn(number: int, turn: TurnView, console: Console) -> None:
    console.print(Rule(f"[dim]turn {number}[/]", align="left", style="dim"))
    if turn.thought:
        console.print(Text(turn.thought, style="italic"))
    for call in turn.calls:
        console.print(_call(call))
    if turn.answer is not None:
        console.print(Text.assemble(("answer  ", "dim"), (turn.answer, "bold")))
    if turn.error:
        console.print(Text(f"malformed: {turn.error}", style="red"))
        console.print(Text(turn.text, style="dim"))
    if turn.observation:
        console.print(Text(turn.observation, style="cyan"))
    _print_frames("frames", turn.frames, console)
    console.print()


def _call(call: CallView) -> Text:
    line = Text.assemble(("→ ", "dim"), (str(call), "yellow"))
    if call.record is None:
        line.append("  not executed", "red")
    elif not call.record.ok:
        line.append(f"  ✗ {call.record.error or 'failed'}", "red")
    else:
        line.append(f"  {call.record.seconds:.3f} s", "dim")
    return line


def _print_frames(name: str, frames: Sequence[FrameView], console: Console) -> None:
    if not frames:
        return
    console.print(Text(f"{name}: {', '.join(_time(frame) for frame in frames)}", style="dim"))
    if console.color_system in ("256", "truecolor"):
        shown = spread(frames, THUMBNAILS)
        console.print(Columns([_thumbnail(frame) for frame in shown], padding=(0, 1)))


def _time(frame: FrameView) -> str:
    return "time unknown" if frame.time_s is None else f"{frame.time_s:.2f} s"


def _thumbnail(frame: FrameView) -> Text:
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
    parts = "  ".join(f"{part} {getattr(rewards, part):.2f}" for part in REWARD_PARTS)
    line = Text(f"reward {rewards.total:.2f}  {parts}", style="dim")
    tokens = trajectory.transcript.sampled_tokens
    return line.append(f"  {len(trajectory.calls)} calls  {tokens} tokens  {trajectory.seconds:.1f} s", "dim")
