"""What a request in the form of OpenAI's chat API asks the agent, as a task.

The film is a `video_url`: the film itself as a data URL, or the name of one in the server's folder. Where there is none
the `image_url` parts are its frames, in order, `fps` a second. Beside a film each of them is a frame on which the
target is marked; `mark` marks it as `/v1/ask` does. Options in the text make the question a choice.

Invariant: nothing is fetched from anywhere: pictures and films come with the request or lie in the server's folder.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from actors.serving.chat_question import read_question
from actors.serving.mark import MarkError, draw_mark, parse_mark
from actors.serving.question import RequestError, confined, served_task, without_folders
from env.task import Task
from storage.files import JsonObject
from tools.decoding.frame import VideoError
from tools.decoding.video import open_video
from tools.marks.visual_prompt import VisualPrompt

MAX_CHARS = 100_000
"""Characters of a question: harnesses write subtitles into it."""
FPS = 1.0
"""Frames a second of a film that comes as frames, where the request states none."""
MAX_PIXELS = 7680 * 4320
"""Pixels of a picture; a film's frames are all decoded at the size of the first."""
FORMATS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
_DATA = re.compile(r"data:(?P<what>image|video)/[\w.+-]+;base64,")
_ELSEWHERE = {
    "options": "write them into the text, each on a line of its own: A. red",
    "marks": "one mark is `mark`",
    "question": "write it into the user's message",
    "video": "give a part of type video_url in the user's message",
}
"""What people send here who know `/v1/ask`, and what to do instead."""
_UNSUPPORTED = ("tools", "functions", "logprobs")


@dataclass
class _Said:
    """What the parts of the user's messages hold."""

    text: str = ""
    images: list[bytes] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)


def read_task(body: JsonObject, root: Path, folder: Path, timeout_s: float) -> Task:
    """The task of a request; what comes with it is laid down in `folder`.

    Args:
        root: the folder in which films may be named.

    Raises:
        RequestError: the request is not one that the agent can answer.
        MarkError: its mark is not well formed, or does not fit the film.
    """
    _check_settings(body)
    said = _said(body.get("messages"))
    if not said.text:
        raise RequestError(422, "messages: no question is in them")
    if len(said.text) > MAX_CHARS:
        raise RequestError(422, f"messages: {len(said.text)} characters are more than the {MAX_CHARS} allowed")
    question, options = read_question(said.text)
    path = _film(said, body, root, folder)
    try:
        film = open_video(path, timeout_s)
        marked = _marked_pictures(said.images, folder) if said.videos else ()
        if body.get("mark") is not None:
            marked += (draw_mark(parse_mark(_mark(body["mark"])), film, folder / "marked.png", timeout_s),)
    except VideoError as error:
        raise RequestError(422, "video: " + without_folders(str(error), path, folder)) from None
    return served_task(question, options, path, marked)


def _check_settings(body: JsonObject) -> None:
    for name, instead in _ELSEWHERE.items():
        if name in body:
            raise RequestError(422, f"{name}: is none of this API's; {instead}")
    for name in _UNSUPPORTED:
        if body.get(name):
            raise RequestError(422, f"{name}: not supported; the agent calls tools of its own and answers in text")
    if body.get("n") not in (None, 1):
        raise RequestError(422, "n: one answer is given; leave it out, or send the number 1")
    wanted = body.get("response_format")
    if wanted is not None and (not isinstance(wanted, dict) or wanted.get("type") != "text"):
        raise RequestError(422, "response_format: the agent answers in text")


def _mark(mark: object) -> str | JsonObject:
    if not isinstance(mark, str | dict):
        raise MarkError("mark: neither a text nor an object")
    return mark


def _said(messages: object) -> _Said:
    if not isinstance(messages, list) or not messages:
        raise RequestError(422, "messages: give a list with a message of the user")
    said, texts = _Said(), []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer"):
            continue  # its instructions are its own, which it was trained with
        if role != "user":
            raise RequestError(422, f"messages: the agent answers one question of a user, and has no use for '{role}'")
        for part in _parts(message.get("content")):
            texts += _take(part, said)
    said.text = "\n".join(texts).strip()
    return said


def _parts(content: object) -> Iterator[JsonObject]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list) and all(isinstance(part, dict) for part in content):
        yield from content
    else:
        raise RequestError(422, "messages: content is neither a text nor a list of parts")


def _take(part: JsonObject, said: _Said) -> list[str]:
    """Put what a part holds where it belongs; returns its text."""
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return [part["text"]]
    if kind not in ("image_url", "video_url"):
        raise RequestError(422, f"messages: no part of type '{kind}'; the types are text, image_url, video_url")
    held = part.get(kind)
    url = held.get("url") if isinstance(held, dict) else held
    if not isinstance(url, str):
        raise RequestError(422, f"{kind}: has no url")
    if kind == "video_url":
        said.videos.append(url)
    else:
        said.images.append(_decoded(url, "image"))
    return []


def _decoded(url: str, what: str) -> bytes:
    named = _DATA.match(url)
    if named is None or named["what"] != what:
        raise RequestError(422, f"{what}_url: give the {what} itself, as data:{what}/...;base64,...")
    try:
        return base64.b64decode(url[named.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(422, f"{what}_url: is not valid base64") from None


def _film(said: _Said, body: JsonObject, root: Path, folder: Path) -> str:
    """Path of the film that is asked about."""
    if len(said.videos) > 1:
        raise RequestError(422, f"video_url: one film is asked about, not {len(said.videos)}")
    if said.videos:
        [url] = said.videos
        if not url.startswith("data:"):
            if "://" in url and not url.startswith("file://"):
                raise RequestError(422, "video_url: nothing is fetched; send the film, or name one of the server's")
            local = url.removeprefix("file://").removeprefix("localhost")
            return str(confined(root, unquote(local) if url.startswith("file://") else url))
        film = folder / "video_1"
        film.write_bytes(_decoded(url, "video"))
        return str(film)
    if not said.images:
        raise RequestError(422, "messages: neither a film (video_url) nor frames of one (image_url) are in them")
    fps = FPS if body.get("fps") is None else body["fps"]
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0.001 <= fps <= 1000:
        raise RequestError(422, "fps: give the frames a second of the pictures, 0.001 to 1000")
    frames = folder / "video_1"
    frames.mkdir()
    for i, image in enumerate(said.images):
        (frames / f"{i:06d}{_suffix(image)}").write_bytes(image)
    return f"{frames}#fps={fps:.6f}"


def _marked_pictures(images: list[bytes], folder: Path) -> tuple[VisualPrompt, ...]:
    """Frames on which the target is marked, of which nobody tells when they are."""
    marked = []
    for i, image in enumerate(images):
        picture = folder / f"marked_{i}{_suffix(image)}"
        picture.write_bytes(image)
        marked.append(VisualPrompt(str(picture), None))
    return tuple(marked)


def _suffix(image: bytes) -> str:
    """The file name's end of a picture. Raises RequestError: it is none that can be read."""
    try:
        with Image.open(BytesIO(image)) as opened:
            suffix, pixels = FORMATS[opened.format or ""], opened.width * opened.height
    except KeyError:
        raise RequestError(422, "image_url: not a JPEG, PNG, WebP or BMP picture") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RequestError(422, "image_url: not a picture that can be read") from None
    if pixels > MAX_PIXELS:
        raise RequestError(422, f"image_url: a picture of {pixels:,} pixels is larger than the {MAX_PIXELS:,} allowed")
    return suffix
