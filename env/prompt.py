"""What the agent reads and sees at the start of an episode.

Invariant: every frame comes right after a label with its true presentation time, and only tools that are on offer are
ever named.
"""

import json
from collections.abc import Sequence

from configs.episode import EpisodeConfig
from env.subtitles import Line
from env.task import Task
from tools.decoding.frame import Content, Frame
from tools.registry import offered_tools, schemas

MARK_TOOL = "view_visual_prompt"
"""With this tool on offer the marked frame is left for the agent to fetch."""

_ROLE = "You answer a question about one marked instance in a video. Someone drew a mark on it in a frame of the video."
_UNMARKED_ROLE = "You answer a question about a video."
_FRAMES = "Every frame is preceded by its time in the video, in seconds."
_TOOLS = """# Tools

You may call one function at a time to assist with the question.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{schemas}
</tools>

To call one, end your turn with a json object with function name and arguments within <tool_call></tool_call> XML tags:
<think>what you know and what you still need to see</think>
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>

To answer, end your turn with the answer within <answer></answer> XML tags:
<think>what you saw and what follows from it</think>
<answer>the answer</answer>

Rules:
- A turn is one <think> block and then one <tool_call> or one <answer>, and nothing else.
- You have at most {rounds} turns with calls; then you must answer. Call only what the question needs.
- {marks}The video is "video_1"."""
_DIRECT = "Answer with nothing but the answer itself."
_NO_TOOLS = """Think first, then answer, in this form and nothing else:
<think>what you saw and what follows from it</think>
<answer>the answer</answer>"""


def system_prompt(config: EpisodeConfig, marked: bool = True) -> str:
    """The system turn in the config's style; `marked` says whether something is marked in the video."""
    role = _ROLE if marked else _UNMARKED_ROLE
    if not config.reasoning:
        return f"{role} {_FRAMES} {_DIRECT}" if config.prompt_style == "full" else _DIRECT
    if config.prompt_style == "compact":
        names = ", ".join(offered_tools(config.tools))
        return f"Answer with the tools {names}." if names else "Answer the question."
    if not config.tools:
        return f"{role} {_FRAMES}\n\n{_NO_TOOLS}"
    listed = "\n".join(json.dumps(schema) for schema in schemas(config.tools))
    marks = f"{_marks(config)} " if marked else ""
    return f"{role} {_FRAMES}\n\n" + _TOOLS.format(schemas=listed, rounds=config.max_tool_rounds, marks=marks)


def native_system_prompt(config: EpisodeConfig, marked: bool = True) -> str:
    """The system turn of a chat model that is given the tools in its own way."""
    role = _ROLE if marked else _UNMARKED_ROLE
    if not config.reasoning:
        return f"{role} {_FRAMES} {_DIRECT}"
    asked = "Before each call and before the answer, say what you saw, where and when, and what follows from it."
    answer = "When you know the answer, write it alone within <answer></answer> tags, after your reasons."
    if not config.tools:
        return f"{role} {_FRAMES}\n\n{asked} {answer}"
    rounds = (
        f"You may call one tool a turn, in at most {config.max_tool_rounds} turns; call only what the question needs."
    )
    marks = f"{_marks(config)} " if marked else ""
    return f'{role} {_FRAMES} {marks}The video is "video_1".\n\n{rounds} {asked} {answer}'


def user_content(
    task: Task,
    config: EpisodeConfig,
    coarse: Sequence[Frame],
    marked: Sequence[Frame] | None,
    subtitles: Sequence[Line] = (),
) -> Content:
    """The first user turn: the coarse frames, the marked frames unless they are left to a tool or not shown (None), the
    subtitles, the question."""
    full = config.prompt_style == "full"
    parts: list[str | Frame] = ["Frames of the video:\n"] if full else []
    for frame in coarse:
        parts += [f"{frame.time_s:.1f} s ", frame]
    for i, frame in enumerate(marked or (), 1):
        name = f"frame_{i}" if len(task.visual_prompts) > 1 else "frame"
        parts += [f"marked {name}{frame.at}: ", frame]
    if MARK_TOOL in config.tools and len(task.visual_prompts) > 1:
        parts.append("marked frames: " + ", ".join(f"frame_{i}" for i in range(1, len(task.visual_prompts) + 1)) + "\n")
    if subtitles:
        parts.append("\nSubtitles:\n" + "\n".join(map(str, subtitles)) + "\n")
    question = _question(task, full)
    parts.append(f"\n\nQuestion: {question}" if full else question)
    return tuple(parts)


def readable(content: Content) -> str:
    """The content for people: each frame is a `[frame 12.3 s]`, or a `[frame]` if its time is not known."""
    return "".join(part if isinstance(part, str) else f"[frame{part.at.removeprefix(' at')}]" for part in content)


def _marks(config: EpisodeConfig) -> str:
    if MARK_TOOL in config.tools:
        return 'The marked frames are "frame_1", "frame_2" and so on; look at the mark first.'
    return "The marked frames are in the prompt." if config.mark_in_prompt else "No marked frame is shown."


def _question(task: Task, full: bool) -> str:
    if task.form == "choice":
        options = [f"{chr(ord('A') + i)}. {option}" for i, option in enumerate(task.options or ())]
        ask = "Answer with the letter of the right option only." if full else "Answer with the letter."
        return "\n".join([task.question, *options, ask])
    return f"{task.question}\nAnswer with a word or a short phrase." if full else task.question
