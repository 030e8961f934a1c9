"""A person's question about a video, turned into a task: where the video may lie, what is marked on it.

Invariant: no path that a request names is opened unless it lies, links resolved, under the video root.
"""

import os
import uuid
from pathlib import Path

from actors.serving.mark import RequestedMark, draw_mark
from env.task import MAX_OPTIONS, Task
from tools.decoding.frame import VIDEO_SUFFIXES, VideoError
from tools.decoding.video import open_video
from tools.marks.visual_prompt import VisualPrompt

MAX_LISTED = 500
"""Most videos that are offered for picking."""
MAX_QUESTION_CHARS = 2000


class RequestError(ValueError):
    """A request that cannot be answered, in one sentence, with its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def check_question(text: object, options: object) -> tuple[str, tuple[str, ...]]:
    """A question and its options, none if it is open, of the right type and size. Raises RequestError: one is not."""
    if not isinstance(text, str) or not text.strip():
        raise RequestError(422, "question: write what you want to know about the marked thing")
    if len(text) > MAX_QUESTION_CHARS:
        raise RequestError(422, f"question: {len(text)} characters are more than the {MAX_QUESTION_CHARS} allowed")
    if not isinstance(options, list | tuple) or not all(isinstance(o, str) and o.strip() for o in options):
        raise RequestError(422, "options: not a list of texts")
    if len(options) == 1 or len(options) > MAX_OPTIONS:
        raise RequestError(422, f"options: give 2 to {MAX_OPTIONS}, or none for an open question")
    return text.strip(), tuple(option.strip() for option in options)


def confined(root: Path, name: str) -> Path:
    """The file `name` under `root`, links resolved. Raises RequestError: it lies outside of `root`, or is no file."""
    try:
        path = (root / name).resolve()
        inside = path.is_relative_to(root.resolve())
        is_file = inside and path.is_file()
    except (OSError, RuntimeError, ValueError):
        raise RequestError(422, f"video: '{name[:200]}' is not a path") from None
    if not inside:
        raise RequestError(403, f"video: '{name}' lies outside of the folder that this server may read")
    if not is_file:
        raise RequestError(404, f"video: there is no file '{name}' in the folder that this server may read")
    return path


def without_folders(text: str, video: str, folder: Path) -> str:
    """An error's text as a client may read it: where files lie on this machine is nobody else's business."""
    text = text.removeprefix(f"{video}: ")
    for place in (f"{folder}/", f"{Path(video.partition('#')[0]).parent}/"):
        text = text.replace(place, "")
    return text


def list_videos(root: Path) -> list[str]:
    """Videos under `root` that a request may name, relative to it, sorted; hidden folders are left out."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith("."):
                found.append(os.path.relpath(os.path.join(folder, name), root))
        if len(found) >= MAX_LISTED:
            break
    return sorted(found[:MAX_LISTED])


def make_task(
    question: str, options: tuple[str, ...], mark: RequestedMark, video_path: Path, folder: Path, timeout_s: float
) -> Task:
    """The task of a question; its marked frame is saved in `folder`.

    Raises:
        RequestError: the file is not a video that can be read.
        MarkError: the mark does not fit the video.
    """
    try:
        video = open_video(video_path, timeout_s)
        prompt = draw_mark(mark, video, folder / "marked.png", timeout_s)
    except VideoError as error:
        raise RequestError(422, "video: " + without_folders(str(error), str(video_path), folder)) from None
    return served_task(question, options or None, str(video_path), (prompt,))


def served_task(question: str, options: tuple[str, ...] | None, video: str, marked: tuple[VisualPrompt, ...]) -> Task:
    """The task of a question that is asked now."""
    return Task(
        id=uuid.uuid4().hex[:12],
        video=video,
        question=question,
        # Nobody knows the answer yet. A choice needs some letter; the rewards of a served episode are not used.
        answer="A" if options else "",
        dimension="",
        visual_prompts=marked,
        form="choice" if options else "open",
        options=options,
        source="served",
    )
