"""Speed of evaluation: `python -m benchmarks.eval [--quick]`.

Ratios:
- `questions_per_s_over_engine`: a whole evaluation (films decoded, prompts made, rounds played, answers kept) against
  an engine that is given the same requests with their pixels at hand, as many at once, more than it has places, so that
  it never waits; 1 would be one that costs nothing beside the engine (at least 0.85).
- `speedup_vs_client_loop`: the same questions against a client that asks vLLM's own server one after the other, as many
  harnesses do, with one turn each (at least 3).

Figures: `questions_per_s` and `client_questions_per_s`. Scoring has its own: `python -m benchmarks.responses`.
"""

import argparse
import asyncio
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from actors.engine.engine import PolicyEngine
from actors.engine.request import GenerationRequest, frame_id
from actors.rollout.players import players
from benchmarks.measure import finish, ratio, side_by_side, table
from configs import Config, load_config
from configs.policy import TinyModelConfig
from env.datasets.reading import read_benchmark
from env.task import Task
from env.trajectory import Trajectory
from evals.answers import AnswerLog
from evals.benchmark import play_on_engines, play_on_server
from tests.films import movies
from tests.films.benchmarks import json_lines
from tests.models.tiny import build_tiny_model
from tests.servers.ray_session import own_ray
from tests.servers.vllm_server import vllm_server
from tools.decoding.video import read_frames

MODEL = TinyModelConfig(hidden_size=512, layers=8, intermediate_size=1536, vision_hidden_size=128, vision_layers=4)
"""Large enough that sampling takes most of an evaluation, as it does at any useful size."""
QUESTIONS, REPEATS, QUICK = 32, 3, 16
CLIENT_QUESTIONS, QUICK_CLIENT = 12, 8
"""Of each repeat; the client loop has fewer, for it takes so long."""
FPS, FILM_S = 8, 20
TURN_TOKENS, ROUNDS = 64, 2
SETTINGS = (
    *("episode.prompt_max_frames=8", "episode.prompt_max_pixels=9216", "episode.tools=[]", "judge.by=rules"),
    *("episode.prompt_fps=1", "episode.max_tokens=1800", f"episode.max_turn_tokens={TURN_TOKENS}"),
    *("engine.engines=1", "engine.max_model_len=2048", "engine.max_num_seqs=8", "engine.kv_cache_gib=1.0"),
    *("eval.episodes_in_flight=24", "grpo.env_runners=1", "eval.server.model=tiny", "eval.server.concurrency=1"),
    *("eval.server.timeout_s=300", f"eval.server.max_tokens={TURN_TOKENS}"),
)


def questions(folder: Path, count: int, first: int) -> list[Task]:
    """Questions in the form of V2P-Bench, each about a film of its own; `first` is the number of the first film, by
    which films and questions differ."""
    rows = []
    (folder / "frames").mkdir(parents=True)
    for i in range(first, first + count):
        shown = [movies.picture((31 * i + j) % 512, 96, 96) for j in range(FPS * FILM_S)]
        movies.write_pictures(folder / f"{i}.mp4", shown, FPS)
        Image.fromarray(movies.picture(i % 512, 96, 96)).save(folder / "frames" / f"{i}.png")
        asked = f"What does the marked one do in film {i}?\nA: It runs.\nB: It sits.\nC: It sleeps.\nD: It sings."
        row = {"video_id": f"q{i}", "video_path": f"{i}.mp4", "frame_path": f"{i}.png", "dimension": 2}
        rows.append({**row, "question": asked, "answer": "ABCD"[i % 4], "duration": FILM_S, "source": "made"})
    json_lines(folder / "dataset_info.jsonl", rows)
    return list(read_benchmark("V2P-Bench", folder).tasks)


class Replay:
    """The requests of episodes that were played, on an engine and nothing else."""

    def __init__(self, engine: PolicyEngine, places: int) -> None:
        self._engine, self._places = engine, places

    def run(self, episodes: Sequence[list[GenerationRequest]]) -> None:
        """Send the requests of each episode one after the other, `places` episodes at once."""

        async def all_of_them() -> None:
            places = asyncio.Semaphore(self._places)

            async def one(requests: list[GenerationRequest]) -> None:
                async with places:
                    for request in requests:
                        await self._engine.generate(request)

            await asyncio.gather(*map(one, episodes))

        asyncio.run(all_of_them())


def requests_of(episode: Trajectory) -> list[GenerationRequest]:
    """What an engine was asked in an episode, with the pixels of each frame once."""
    transcript, made, sent = episode.transcript, list[GenerationRequest](), 0
    for start, end in _sampled(transcript.sampled):
        media = tuple(span for span in transcript.media if span.start < start)
        frames = tuple(span.frame for span in media)
        pixels = (None,) * sent + tuple(read_frames(frames[sent:]))
        sent = len(frames)
        made.append(
            GenerationRequest(
                ids=np.asarray(transcript.ids[:start], dtype=np.int32),
                media=media,
                frames=pixels,
                frame_ids=tuple(map(frame_id, frames)),
                max_tokens=end - start,
                temperature=0.0,
            )
        )
    return made


def _sampled(mask: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Starts and ends of the runs of sampled tokens."""
    edges = np.flatnonzero(np.diff([False, *mask, False]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def over_engine(config: Config, model: Path, folder: Path, count: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of whole evaluations and of their requests alone, repeat by repeat, each of other questions."""
    config = dataclasses.replace(config, episode=dataclasses.replace(config.episode, max_tool_rounds=ROUNDS))
    sets = [questions(folder / f"set-{i}", count, i * count) for i in range(repeats + 1)]
    with players(config, model) as dispatcher, closing(PolicyEngine(config.engine, str(model))) as engine:
        asyncio.run(engine.ready())
        replay = Replay(engine, config.eval.episodes_in_flight)
        episodes: dict[int, list[list[GenerationRequest]]] = {}

        def evaluate(i: int) -> None:
            play_on_engines(dispatcher, config, sets[i], AnswerLog(folder / f"log-{i}"), lambda _: None)

        def prepare(i: int) -> None:
            played = [answer.episode for answer in AnswerLog(folder / f"log-{i}").answered(sets[i])]
            episodes[i] = [requests_of(episode) for episode in played if episode]
            assert len(episodes[i]) == count, "a question could not be played"

        evaluate(0)  # what is loaded and compiled at the first use
        prepare(0)
        replay.run(episodes[0])
        whole, bare = [], []
        for i in range(1, repeats + 1):
            whole += side_by_side({"whole": lambda _, i=i: evaluate(i)}, 1)["whole"]  # type: ignore[misc]
            prepare(i)
            bare += side_by_side({"bare": lambda _, i=i: replay.run(episodes[i])}, 1)["bare"]  # type: ignore[misc]
    return whole, bare


def over_client(config: Config, model: Path, folder: Path, count: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of a client that asks vLLM's server one question after the other, and of an evaluation on an engine."""
    config = dataclasses.replace(config, episode=dataclasses.replace(config.episode, reasoning=False))
    sets = [questions(folder / f"ask-{i}", count, i * count) for i in range(repeats + 1)]
    with vllm_server(model, folder / "vllm.log", 4096) as server, players(config, model) as dispatcher:
        config.eval.server.base_url = server.url

        def ask(i: int) -> None:
            play_on_server(config, sets[i], AnswerLog(folder / f"asked-{i}"), folder / "replies", lambda _: None)

        def evaluate(i: int) -> None:
            play_on_engines(dispatcher, config, sets[i], AnswerLog(folder / f"played-{i}"), lambda _: None)

        for first in (ask, evaluate):
            first(0)
        taken = side_by_side({"client": ask, "engine": evaluate}, repeats, first=1)
        for log in ("asked", "played"):
            assert not AnswerLog(folder / f"{log}-1").unanswered(sets[1]), f"a question could not be {log}"
    return taken["client"], taken["engine"]


def main() -> None:
    """Measure, print, and end with the line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Fewer questions, one repeat.")
    quick = parser.parse_args().quick
    count, asked, repeats = (QUICK, QUICK_CLIENT, 1) if quick else (QUESTIONS, CLIENT_QUESTIONS, REPEATS)
    config = load_config(None, SETTINGS)
    with tempfile.TemporaryDirectory() as made, own_ray(num_cpus=4):
        folder = Path(made)
        texts = ["What does the marked one do in film 1? A. It runs. B. It sits. C. It sleeps. D. It sings."] * 20
        model = build_tiny_model(MODEL, texts, folder / "model", 0)
        whole, bare = over_engine(config, model, folder, count, repeats)
        client, engine = over_client(config, model, folder, asked, repeats)
    table(
        "seconds",
        ("what", "questions", "median"),
        [
            ("whole evaluation", count, float(np.median(whole))),
            ("its requests alone", count, float(np.median(bare))),
            ("client loop", asked, float(np.median(client))),
            ("evaluation, one turn", asked, float(np.median(engine))),
        ],
    )
    finish(
        "eval",
        {"questions_per_s_over_engine": ratio(bare, whole), "speedup_vs_client_loop": ratio(client, engine)},
        {
            "questions_per_s": round(count / float(np.median(whole)), 3),
            "client_questions_per_s": round(asked / float(np.median(client)), 3),
        },
    )


if __name__ == "__main__":
    main()
