"""The synthesis: what its pipeline adds to what it waits for, how fast each stage is, how it scales, and its memory.

`python -m benchmarks.synth [--quick]`. Stages run on the procedural world, whose truth stands in for models; the text
filter asks a local server that answers at once.
"""

import argparse
import asyncio
import dataclasses
import json
import logging
import multiprocessing
import os
import socket
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
import openai
import psutil
import uvicorn
from openai.types.chat import ChatCompletion

from benchmarks.measure import finish, ratio, seconds, side_by_side, table
from configs import Config, load_config
from configs.endpoint import EndpointConfig
from endpoint.endpoint import Endpoint
from storage.files import JsonObject
from synth.pipeline.make_stage import make_stage
from synth.pipeline.shards import read_records, shard_file, write_records
from synth.pipeline.worker import ShardRow, StageWorker
from synth.record import STAGES, Record
from synth.stages.text_filter import PROMPT, SCHEMA, filter_by_model
from synth.world.records import world_records

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
SHARD = 250
"""Text records of a shard."""
HEAVY = ("question", "mask", "mark")
"""Stages that take time without a model: videos are rendered, encoded, read, drawn on."""
VIDEOS = 4
"""Of a shard, where workers are compared."""
AT_ONCE = 4
"""Shards in work, as in the pipeline."""
MESSAGE = {"role": "assistant", "content": '{"is_valid": true, "reason": ""}'}
CHOICES = [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]
USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
KIND = {"id": "0", "object": "chat.completion", "created": 0, "model": "echo"}
REPLY = json.dumps({**KIND, "choices": CHOICES, "usage": USAGE}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and videos")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="videoseeker-benchmark-") as name:
        folder = Path(name)
        text = text_filter(folder / "text", 2_000 if quick else 100_000, repeats=4 if quick else 10)
        speeds = by_stage(folder / "stages", videos=6 if quick else 30)
        scaling, by_workers = two_workers(folder / "scaling", videos=32 if quick else 96, repeats=2 if quick else 3)
        growth = pipeline_memory_growth(folder / "memory", folder / "stages", 1_000 if quick else 10_000)
    ratios = {"text_filter_over_bare_asyncio": text, "two_worker_efficiency": scaling}
    figures = {"samples_per_s": speeds, "videos_per_s_by_workers": by_workers, "peak_rss_growth_mib": growth}
    finish("synth", ratios, figures)


def text_filter(folder: Path, records: int, repeats: int) -> dict[str, float]:
    """Stage 1 by a model, journal, kept answers and all, over a bare loop of the same requests at the same bound."""
    each = records // repeats
    with _echo_server() as url:
        config = EndpointConfig(base_url=url, model="echo")
        rivals = {"the stage": partial(_filtered, folder, config, each), "a bare loop": partial(_bare, config, each)}
        taken = side_by_side(rivals, repeats)
    rows = [[name, each * repeats, each * repeats / sum(times)] for name, times in taken.items()]
    table("Text filter", ("", "records", "records a second"), rows)
    return ratio(taken["the stage"], taken["a bare loop"])


def _question(repeat: int, i: int) -> str:
    return f"What does the man in shirt {repeat}-{i} do after he has sat down on the bench by the door?"


def _filtered(folder: Path, config: EndpointConfig, count: int, repeat: int) -> None:
    before, after = folder / f"before{repeat}", folder / f"after{repeat}"
    before.mkdir(parents=True)
    shards = range(0, count, SHARD)
    for index, start in enumerate(shards):
        numbers = range(start, min(start + SHARD, count))
        records = [Record(f"r{i}", "bench", "v.mp4", _question(repeat, i), "yes") for i in numbers]
        write_records(shard_file(before, index), records)
    endpoint = Endpoint(config, folder / "answers", "synth.text_model")
    worker = StageWorker(lambda: partial(filter_by_model, endpoint=endpoint), before, after, "run")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(worker, _rows(len(shards))))
    assert not any(row["error"] for row in rows), rows


def _bare(config: EndpointConfig, count: int, repeat: int) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}

    async def all_of_them() -> None:
        client = openai.AsyncOpenAI(base_url=config.base_url, api_key="EMPTY")
        places = asyncio.Semaphore(config.concurrency)

        async def one(i: int) -> None:
            messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": _question(repeat, i)}]
            limits = {"temperature": 0.0, "seed": 0, "max_tokens": config.max_tokens}
            request = {"model": config.model, "messages": messages, "response_format": form, **limits}
            async with places:
                reply = await client.post("/chat/completions", body=request, cast_to=ChatCompletion)
            json.loads(reply.choices[0].message.content or "")

        await asyncio.gather(*map(one, range(count)))
        await client.close()

    asyncio.run(all_of_them())


def by_stage(folder: Path, videos: int) -> dict[str, float]:
    """Records that each stage of the world's pipeline ends in a second, in one process."""
    config = _config(videos)
    _source(config, folder, 1)
    speeds: dict[str, float] = {}
    for before, stage in zip(("source", *STAGES), STAGES, strict=False):
        worker = StageWorker(partial(make_stage, stage, config, folder), folder / before, folder / stage, "run")
        taken = seconds(partial(list, map(worker, _rows(len(list((folder / before).glob("*.jsonl")))))))
        ended = [record for path in (folder / stage).glob("*.jsonl") for record in read_records(path)]
        in_work = [record for record in ended if record.rejected_by in ("", stage)]
        speeds[stage] = round(len(in_work) / taken, 1)
    films = sorted((folder / "videos").glob("*.mp4"))
    decoded = seconds(partial(_decode, films))
    rows = [[stage, speed] for stage, speed in speeds.items()]
    table("Stages", ("", "records a second"), [*rows, ["(bare decoding, videos)", len(films) / decoded]])
    return speeds


def two_workers(folder: Path, videos: int, repeats: int) -> tuple[dict[str, float], dict[str, dict[int, float]]]:
    """How much of twice the speed two actors have over all stages that take time, and the speed of each by workers."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    try:
        for repeat in range(repeats):
            for workers in (1, 2) if repeat % 2 else (2, 1):
                runs[workers].append(_seconds_a_video(folder / f"{repeat}-{workers}", videos, workers))
    finally:
        ray.shutdown()
    speeds: dict[str, dict[int, float]] = {stage: {} for stage in HEAVY}
    for stage in HEAVY:
        for workers, found in runs.items():
            speeds[stage][workers] = round(statistics.median(1 / run[stage] for run in found), 1)
    rows = [[stage, one, two, two / (2 * one)] for stage, (one, two) in ((s, v.values()) for s, v in speeds.items())]
    table("Workers", ("videos a second", "one", "two", "efficiency"), rows)
    whole = {workers: [sum(run.values()) for run in found] for workers, found in runs.items()}
    return ratio(whole[1], [2 * taken for taken in whole[2]]), speeds


def _seconds_a_video(folder: Path, videos: int, workers: int) -> dict[str, float]:
    """Seconds that a video takes each heavy stage; the workers' start does not count."""
    import ray.data

    config = _config(videos)
    shards = _source(config, folder, VIDEOS)
    rows = _rows(shards)
    taken = {}
    for before, stage in zip(("source", *STAGES), STAGES, strict=False):
        args = partial(make_stage, stage, config, folder), folder / before, folder / stage, "run"
        if stage not in HEAVY:
            done = list(map(StageWorker(*args), rows))
        else:
            dataset = ray.data.from_items(rows, override_num_blocks=shards)
            pool = ray.data.ActorPoolStrategy(size=workers)
            done = dataset.map(StageWorker, fn_constructor_args=args, compute=pool, num_cpus=1).take_all()
            ends = sorted(path.stat().st_mtime for path in (folder / stage).glob("*.jsonl"))
            taken[stage] = (ends[-1] - ends[workers - 1]) / (len(ends) - workers) / VIDEOS
        assert not any(row["error"] for row in done), done
    return taken


def pipeline_memory_growth(folder: Path, made: Path, records: int) -> float:
    """MiB by which the process grows while masks are found and marks drawn, from a fifth of the way to the end."""
    config = _config(1)
    source = [record for path in sorted((made / "video").glob("*.jsonl")) for record in read_records(path)]
    source = [record for record in source if not record.rejected_by]
    shard, process = 100, psutil.Process()
    peaks = []
    for index in range(records // shard):
        chosen = [source[(index * shard + i) % len(source)] for i in range(shard)]
        (folder / "video").mkdir(parents=True, exist_ok=True)
        renamed = [dataclasses.replace(record, id=f"{record.id}-{index}-{i}") for i, record in enumerate(chosen)]
        write_records(shard_file(folder / "video", index), renamed)
    workers = [
        StageWorker(partial(make_stage, stage, config, folder), folder / before, folder / stage, "run")
        for before, stage in (("video", "mask"), ("mask", "mark"))
    ]
    for row in _rows(records // shard):
        for worker in workers:
            assert not worker(row)["error"], worker(row)
        peaks.append(process.memory_info().rss / 2**20)
    start = max(peaks[: max(1, len(peaks) // 5)])
    growth = round(max(peaks) - start, 1)
    table("Memory, MiB", ("records", "at a fifth", "at most", "growth"), [[records, start, max(peaks), growth]])
    return growth


def _config(videos: int) -> Config:
    overrides = ["synth.source=world", "synth.verifier=world", "synth.segmenter=world", f"world.train_videos={videos}"]
    return load_config(DEMO, overrides)


def _source(config: Config, folder: Path, each: int) -> int:
    """The world's records, `each` a shard; the number of shards."""
    for name in ("videos", "source"):
        (folder / name).mkdir(parents=True)
    records = list(world_records(config.world, config.seed, folder / "videos"))
    shards = [records[start : start + each] for start in range(0, len(records), each)]
    for i, shard in enumerate(shards):
        write_records(shard_file(folder / "source", i), shard)
    return len(shards)


def _rows(shards: int) -> list[ShardRow]:
    return [{"shard": i, "error": ""} for i in range(shards)]


def _decode(paths: Sequence[Path]) -> None:
    for path in paths:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")


@contextmanager
def _echo_server() -> Iterator[str]:
    """A server, in a process of its own, that says yes to everything at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        process = multiprocessing.get_context("fork").Process(target=_echo, args=(listener,), daemon=True)
        process.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        yield url
    finally:
        process.terminate()
        process.join(10)


def _echo(listener: socket.socket) -> None:
    async def app(
        scope: JsonObject, receive: Callable[[], Awaitable[JsonObject]], send: Callable[[JsonObject], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(REPLY)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": REPLY})

    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main()
