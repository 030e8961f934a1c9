"""The synthesis and the chat teacher against a real server: vLLM, with a tiny model that knows a few sentences."""

import asyncio
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.rollout.chat_policy import ChatPolicy
from actors.rollout.loop import play
from configs.endpoint import EndpointConfig
from configs.episode import EpisodeConfig
from configs.judge import JudgeConfig
from configs.world import WorldConfig
from endpoint.endpoint import Endpoint
from endpoint.reply import AnswerError
from env.chat import ChatFormat
from env.judging.judge import JudgeError
from env.judging.model_judge import ModelJudge
from env.judging.pairs import load_pairs
from env.judging.rules import certain
from env.task import Task, load_tasks
from env.trajectory import Trajectory
from synth.pipeline.shards import read_records
from synth.record import PLACE, Record
from synth.stages import rewriting, text_filter, verification
from synth.stages.leaks import named
from synth.world.question import TARGETS
from synth.world.render import write_video
from synth.world.sampling import make_world
from tests.films.clips import real_clips
from tests.films.moving_shapes import Film, Shape
from tests.films.sample_episode import MARK_S, write_media
from tests.models.parrot import build_parrot
from tests.servers.processes import family
from tests.servers.vllm_server import VllmServer, vllm_server
from tools.decoding.video import open_video
from tools.marks.rle import decode
from tools.marks.visual_prompt import VisualPrompt

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CALL = 'I look at the mark.<tool_call>\n{"name": "view_visual_prompt", "arguments": {}}\n</tool_call>'
ASKED = "Which way does the red disc move?"
VERIFIED = {
    "is_valid": True,
    "reason": "seen",
    "target_description": "the red disc",
    "tag": "the red disc",
    "timestamp": {"start": 1.0, "end": 4.0},
    "rewritten_question": f"Which way does {PLACE} move?",
    "rewritten_options": [],
    "rewritten_answer": "right",
    "visual_prompt_type": "rectangle",
}
REWRITTEN = {"question": "Which way does the target in the box move?", "options": []}
PROMPTS = [text_filter.PROMPT, verification.PROMPT, rewriting.PROMPT]
CONFIG = """
name: heard
synth:
  text_filter: model
  verifier: model
  segmenter: motion
  rewriter: model
  prompt_kinds: [rectangle]
  test_fraction: 0
  cpus_per_worker: 0.1
  text_model: {base_url: "%(url)s", model: tiny, max_tokens: 400}
  video_model: {base_url: "%(url)s", model: tiny, max_tokens: 400, max_frames: 4, max_pixels: 9216}
"""
FILM = Film((Shape("red", "disc", 14.0, ((0.0, -18.0, 90.0), (6.0, 274.0, 90.0))),), 7.0)
"""A red disc goes from the left to the right."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    compact = [json.dumps(reply, separators=(",", ":")) for reply in (VERIFIED, REWRITTEN)]
    return build_parrot(folder / "model", [CALL, *compact], PROMPTS)


@pytest.fixture(scope="module")
def server(folder: Path, model: Path) -> Iterator[VllmServer]:
    with vllm_server(model, folder / "vllm.log") as server:
        yield server


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    """Questions about real clips, worlds and a film; each video is asked about, the film also in other ways."""
    videos = folder / "videos"
    videos.mkdir()
    for name, path in real_clips().items():
        shutil.copy(path, videos / name)
    small = WorldConfig(min_duration_s=8, max_duration_s=8)
    for seed in range(2):
        write_video(make_world(seed, small), videos / f"world{seed}.mp4", small)
    FILM.write(videos / "film.mp4")
    rows: list[dict[str, Any]] = [
        {"video": path.name, "question": ASKED, "answer": "right"} for path in sorted(videos.iterdir())
    ]
    rows += [
        {"video": "film.mp4", "question": "What is red?", "options": ["the disc", "nothing"], "answer": "A"},
        {"video": "film.mp4", "question": "When does the disc come, and how fast is it?", "answer": "at once"},
    ]
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return questions


def synthesise(folder: Path, source: Path, server: VllmServer, runs: str, *overrides: str) -> Path:
    """The data of `videoseeker synth` with all its models behind the server."""
    config = folder / "heard.yaml"
    config.write_text(CONFIG % {"url": server.url})
    given = f"synth.source={source}", f"synth.video_root={source.parent / 'videos'}", f"runs_dir={folder / runs}"
    (folder / "ray").mkdir(exist_ok=True)
    with family(folder / "ray") as members:
        done = members.run("videoseeker.py", "synth", str(config), *given, *overrides)
    nothing_through = done.returncode == 2 and "got through" in done.stderr
    assert done.returncode == 0 or nothing_through, f"{done.stdout}{done.stderr}\nvLLM:\n{server.told()}"
    return folder / runs / "heard" / "data"


def ends(data: Path) -> dict[str, Record]:
    return {
        record.id: record for path in sorted((data / "stages/mark").glob("*.jsonl")) for record in read_records(path)
    }


def require_promises(record: Record) -> None:
    """What every task that comes out promises, whoever made it."""
    target, marked = record.target, record.marked
    assert target is not None
    assert marked is not None
    assert 0 <= target.start_s < target.end_s <= open_video(record.video).duration_s
    assert PLACE not in marked.question
    assert TARGETS[marked.kind].casefold() in marked.question.casefold()
    assert not named(target, marked.question, marked.options, TARGETS[marked.kind])
    assert len(marked.options or ()) == len(record.options or ())
    [mask] = [mask for mask in record.masks if mask.time_s == marked.time_s]
    found, truth = decode(mask.rle), FILM.seen(0, round(marked.time_s, 3))
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def require_end(record: Record) -> None:
    """Every record becomes a task that keeps its promises, or has the stage and the reason why not."""
    if record.marked:
        require_promises(record)
    else:
        assert record.rejected_by
        assert record.reason
        assert "server" not in record.reason, record.detail


def test_questions_on_real_and_made_footage_become_tasks_or_say_why_not(
    folder: Path, source: Path, server: VllmServer
) -> None:
    data = synthesise(folder, source, server, "frames")
    records = ends(data)
    assert len(records) == len(source.read_text().splitlines())
    for record in records.values():
        require_end(record)
    marked = [record for record in records.values() if record.marked]
    told = [(Path(r.video).name, r.rejected_by, r.reason, r.detail) for r in records.values()]
    assert [record.question for record in marked].count(ASKED) == 1, "\n".join(map(str, told))
    [good] = [record for record in marked if record.question == ASKED]
    assert good.video.endswith("film.mp4")
    assert good.answer == "right"
    assert {task.id for task in load_tasks(data / "train.jsonl")} == {record.id for record in marked}
    sheet = (data / "dataset" / "README.md").read_text()
    assert f"| source | {len(records)} |" in sheet
    assert f"| 4 marks and rewriting | {len(marked)} |" in sheet
    asked = Endpoint(EndpointConfig(base_url=server.url, model="tiny"), data / "stages" / "answers", "m").usage()
    assert asked["text"].paid + asked["text"].cached == len(records)
    assert asked["video"].paid >= 1
    assert asked["mark"].paid >= 1
    before = server.answered()
    assert synthesise(folder, source, server, "frames") == data
    assert server.answered() == before
    assert ends(data) == records


def test_a_video_may_go_there_as_a_file(folder: Path, source: Path, server: VllmServer) -> None:
    records = ends(synthesise(folder, source, server, "video", "synth.video_model.video_as=video"))
    assert len(records) == len(source.read_text().splitlines())
    for record in records.values():
        require_end(record)
    assert "video" in {record.rejected_by for record in records.values()} or any(r.marked for r in records.values())


def test_guided_decoding_ends_what_a_model_would_not_end(folder: Path, server: VllmServer) -> None:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "maxLength": 40}},
        "required": ["text"],
        "additionalProperties": False,
    }
    warm = EndpointConfig(base_url=server.url, model="tiny", temperature=2.0, max_tokens=120)

    async def ask(seed: int, config: EndpointConfig) -> str:
        endpoint = Endpoint(dataclasses.replace(config, seed=seed), folder / "endless", "synth.text_model")
        try:
            return (await endpoint.ask("text", "Write.", ["Write on and on."], schema))["text"]
        finally:
            await endpoint.close()

    async def all_of(config: EndpointConfig) -> list[str | BaseException]:
        return await asyncio.gather(*(ask(seed, config) for seed in range(6)), return_exceptions=True)

    told = asyncio.run(all_of(warm))
    assert all(isinstance(text, str) and len(text) <= 40 for text in told), told
    for text in asyncio.run(all_of(dataclasses.replace(warm, schema_limits=False, max_tokens=60))):
        assert isinstance(text, AnswerError) or (isinstance(text, str) and len(text) <= 40)


def test_a_prompt_that_is_longer_than_the_context_is_set_aside_with_the_server_s_words(
    folder: Path, server: VllmServer
) -> None:
    async def ask() -> None:
        endpoint = Endpoint(EndpointConfig(base_url=server.url, model="tiny"), folder / "long", "synth.text_model")
        try:
            await endpoint.ask("text", text_filter.PROMPT, ["word " * 20000], text_filter.SCHEMA)
        finally:
            await endpoint.close()

    with pytest.raises(AnswerError, match="turned down by the server") as found:
        asyncio.run(ask())
    assert "context" in found.value.detail


def test_the_chat_teacher_s_native_calls_go_round_and_its_episode_ends(
    folder: Path, model: Path, server: VllmServer
) -> None:
    media = folder / "media"
    media.mkdir()
    write_media(media)
    mark = VisualPrompt(str(media / "mark.png"), MARK_S, "rectangle")
    task = Task("square", str(media / "video.mp4"), "What colour is the marked shape?", "red", "OA", (mark,))
    episode = EpisodeConfig(prompt_max_frames=4, prompt_max_pixels=4096, max_tool_rounds=2, max_tokens=8000)
    chat = ChatFormat.from_pretrained(str(model))

    def played(**changes: Any) -> Trajectory:
        config = EndpointConfig(base_url=server.url, model="tiny", **changes)
        return asyncio.run(
            play(task, ChatPolicy(chat, Endpoint(config, folder / "turns", "teacher.model")), chat, episode)
        )

    called = played(max_tokens=100)
    assert (called.calls[0].name, called.calls[0].ok) == ("view_visual_prompt", True), called.turns
    assert called.stop in ("answer", "no_answer")
    cut = played(max_tokens=5)
    assert cut.stop == "no_answer"
    assert cut.answer is None
    assert len(cut.turns) == 3
    wild = played(max_tokens=60, temperature=2.0)
    assert wild.stop in ("answer", "no_answer", "length")


def test_a_judge_s_verdicts_go_round_and_none_is_made_up(folder: Path, server: VllmServer) -> None:
    config = JudgeConfig(by="model", model=EndpointConfig(base_url=server.url, model="tiny", max_tokens=400))
    pairs = [pair for pair in load_pairs() if certain(pair.task, pair.answer) is None][::25]

    async def judge() -> list[float | BaseException]:
        mine = ModelJudge(config, folder / "judge")
        try:
            asked = (mine.verdict(pair.task, pair.answer) for pair in pairs)
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await mine.close()

    first = asyncio.run(judge())
    assert any(verdict in (0.0, 0.5, 1.0) for verdict in first)
    assert all(isinstance(verdict, JudgeError) or verdict in (0.0, 0.5, 1.0) for verdict in first), first
    if not any(isinstance(verdict, JudgeError) for verdict in first):
        answered = server.answered()
        assert asyncio.run(judge()) == first
        assert server.answered() == answered, "what was said is not asked again"
