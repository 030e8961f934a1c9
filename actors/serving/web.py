"""The HTTP face of the agent: the ask endpoint, the videos it may be asked about, its health, and the web page.

`POST /v1/ask` takes JSON `{"video", "mark", "question", "options"?}` or the same fields as multipart with an uploaded
video; it answers with one JSON event a line (see `actors.serving.events`) or, with `?stream=false`, with one JSON
object. `POST /v1/chat/completions` and `GET /v1/models` are those of OpenAI's API (see `actors.serving.chat_request`).

Invariant: every refusal is JSON `{"error": one sentence}` with a 4xx or 5xx status, under the chat API in its own form,
and what a request laid down is removed when it ends.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from actors.serving.attending import CHAT, BodyLimit, attended
from actors.serving.chat_reply import CLIENT_IS_GONE, MODEL, Reply, error
from actors.serving.chat_request import read_task
from actors.serving.events import Event
from actors.serving.mark import MarkError, parse_mark
from actors.serving.question import RequestError, check_question, confined, list_videos, make_task
from configs.run import ServeConfig
from env.task import Task
from pages.rendering import render
from storage.files import JsonObject

PlayEvents = Callable[[Task, float, bool], AsyncGenerator[Event]]
"""Plays a task within so many seconds, with thumbnails or without: `episode_events` behind a policy."""
Health = Callable[[], Awaitable[JsonObject]]
"""What the server can say about its engine; raises if it does not serve."""

PAGE = Path(__file__).with_name("page.html")
FIELDS = ("video", "mark", "question", "options")
THE_MODEL = {"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}
REFUSED = (RequestError, MarkError, StarletteHTTPException, RequestValidationError, ClientDisconnect, Exception)
UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Headers of a stream, which no proxy is to hold back."""


def build_app(play_events: PlayEvents, health: Health, config: ServeConfig) -> FastAPI:
    """The web app around an agent."""
    app = FastAPI(title="VideoSeeker", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, max_upload_mib=config.max_upload_mib)
    for refusal in REFUSED:
        app.add_exception_handler(refusal, _refused)
    root, shown = Path(config.video_root), render(PAGE, {})

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(shown)

    @app.get("/healthz")
    async def healthz() -> Response:
        try:
            return JSONResponse({"status": "ok", **await health()})
        except Exception as error:  # noqa: BLE001 - this endpoint reports whatever keeps the engine from serving
            return JSONResponse({"status": "unavailable", "error": str(error).split("\n")[0]}, 503)

    @app.get("/v1/videos")
    async def videos() -> JsonObject:
        return {"videos": await asyncio.to_thread(list_videos, root)}

    @app.get("/v1/videos/{name:path}")
    async def video(name: str) -> Response:
        return FileResponse(confined(root, name))

    @app.post("/v1/ask")
    async def ask(request: Request, stream: bool = True, thumbnails: bool = False) -> Response:
        deadline = time.monotonic() + config.request_timeout_s
        folder = tempfile.TemporaryDirectory(prefix="videoseeker-")
        try:
            task = await _read_task(request, root, Path(folder.name), config.request_timeout_s)
            events = attended(request, folder, play_events(task, deadline - time.monotonic(), thumbnails))
        except BaseException:
            folder.cleanup()
            raise
        return _streamed(events) if stream else await _collected(events)

    @app.get("/v1/models")
    async def models() -> JsonObject:
        return {"object": "list", "data": [THE_MODEL]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        if name != MODEL:
            return JSONResponse(error(f"there is no model '{name[:200]}'; there is {MODEL}", 404), 404)
        return JSONResponse(THE_MODEL)

    @app.post(CHAT)
    async def chat(request: Request) -> Response:
        deadline = time.monotonic() + config.request_timeout_s
        folder = tempfile.TemporaryDirectory(prefix="videoseeker-")
        try:
            body = await asyncio.to_thread(_json_object, await request.body())
            task = await asyncio.to_thread(read_task, body, root, Path(folder.name), config.request_timeout_s)
            events = attended(request, folder, play_events(task, deadline - time.monotonic(), False))
        except BaseException:
            folder.cleanup()
            raise
        if body.get("stream") is not True:
            return await Reply.to(task).whole(events)
        asked = body.get("stream_options")
        with_usage = isinstance(asked, dict) and bool(asked.get("include_usage"))
        lines = Reply.to(task).streamed(events, with_usage)
        return StreamingResponse(lines, media_type="text/event-stream", headers=UNBUFFERED)

    return app


async def _read_task(request: Request, root: Path, folder: Path, timeout_s: float) -> Task:
    """The task of a request; an upload and the marked frame are laid down in `folder`."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=64) as form:
            fields: JsonObject = _form_fields(form)
            video = await _form_video(form, root, folder)
    elif kind in ("application/json", ""):
        fields = _known(_json_object(await request.body()))
        if not isinstance(fields.get("video"), str):
            raise RequestError(422, "video: name a file in the server's folder, or upload one as multipart/form-data")
        video = confined(root, fields["video"])
    else:
        raise RequestError(415, f"content type '{kind}' is neither application/json nor multipart/form-data")
    if not isinstance(mark := fields.get("mark"), str | dict):
        raise RequestError(422, 'mark: missing; say what is asked about, for example {"kind": "point", "t": 3, ...}')
    wanted = parse_mark(mark)
    question, options = check_question(fields.get("question"), fields.get("options") or ())
    return await asyncio.to_thread(make_task, question, options, wanted, video, folder, timeout_s)


def _json_object(body: bytes) -> JsonObject:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise RequestError(400, "the body is not a JSON object")
    return fields


def _form_fields(form: FormData) -> JsonObject:
    texts = {name: form[name] for name in form if name not in ("options", "video")}
    return _known({**texts, "options": form.getlist("options")})


def _known(fields: JsonObject) -> JsonObject:
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise RequestError(422, f"unknown field '{unknown[0]}'; the fields are {', '.join(FIELDS)}")
    return fields


async def _form_video(form: FormData, root: Path, folder: Path) -> Path:
    video = form.get("video")
    if isinstance(video, str):
        return confined(root, video)
    if not isinstance(video, UploadFile):
        raise RequestError(422, "video: missing; upload a file or name one in the server's folder")
    path = folder / "video_1"
    with path.open("wb") as file:
        await asyncio.to_thread(shutil.copyfileobj, video.file, file)
    return path


def _streamed(events: AsyncIterator[Event]) -> Response:
    lines = (json.dumps(event) + "\n" async for event in events)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=UNBUFFERED)


async def _collected(events: AsyncIterator[Event]) -> Response:
    collected = [event async for event in events]
    last = collected[-1]
    if last["type"] == "error":
        return JSONResponse({"error": last["error"]}, last["status"])
    return JSONResponse({**{key: last[key] for key in ("answer", "stop", "seconds")}, "events": collected})


async def _refused(request: Request, refusal: Exception) -> Response:
    """Any refusal as JSON."""
    match refusal:
        case RequestError():
            status, sentence = refusal.status, str(refusal)
        case StarletteHTTPException():
            status, sentence = refusal.status_code, str(refusal.detail)
        case RequestValidationError():
            first = refusal.errors()[0]
            status, sentence = 422, f"{first['loc'][-1]}: {first['msg'].lower()}"
        case MarkError():
            status, sentence = 422, str(refusal)
        case ClientDisconnect():
            return Response(status_code=CLIENT_IS_GONE)
        case _:
            status, sentence = 500, "the request failed for a reason that is in the server's log"
    sentence = sentence.encode(errors="replace").decode()  # what a client wrote need not be text
    return JSONResponse(error(sentence, status) if request.url.path == CHAT else {"error": sentence}, status)
