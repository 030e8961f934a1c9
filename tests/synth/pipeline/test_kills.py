"""Kills in every stage: the driver's and then a worker's, each with records in work, one after the other in one folder.
What comes out is, to the byte, what a run makes that nobody disturbed, and no answer is paid twice."""

import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from synth.record import PLACE, STAGES
from synth.stages import rewriting, text_filter, verification
from synth.stages.rewriting import filled
from synth.world.records import UNFIT
from synth.world.world import COLOURS, SHAPES
from tests.servers.chat_server import ChatServer, chat_server
from tests.servers.processes import Family, family, is_over

CONFIG = """
name: made
seed: 23
world: {train_videos: 4, min_duration_s: 12, max_duration_s: 14, size_px: 96}
episode: {prompt_max_frames: 2}
synth: {source: world, text_filter: model, verifier: model, segmenter: world, rewriter: model, test_fraction: 0.6,
  questions_per_video: 4, records_per_shard: 1, cpus_per_worker: 0.2,
  text_model: {model: words, usd_per_million_input: 200, usd_per_million_output: 800, timeout_s: 900},
  video_model: {model: eyes, usd_per_million_input: 100, max_frames: 2, timeout_s: 900}}
"""
"""The server lets a request wait for as long as the test needs, which on a slow machine is minutes; a client that loses
patience would ask, and be answered, twice."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ASKED = {text_filter.PROMPT: "text", verification.PROMPT: "video", rewriting.PROMPT: "mark"}
"""The stages that ask a model, by their instructions."""
ANSWERED_BEFORE = 2
"""Requests of a stage that are answered before a kill."""
DEADLINE_S = 240.0
NAMED = re.compile(rf"\bthe ((?:(?:{'|'.join(COLOURS)}) )?(?:{'|'.join(SHAPES)}|one))\b", re.IGNORECASE)


def reply(text: str) -> str:
    """What an attentive model says to the last text of a request."""
    if text.startswith("Phrase: "):
        phrase, question, *_ = (line.partition(": ")[2] for line in text.splitlines())
        return json.dumps({"question": filled(question, phrase), "options": []})
    if not text.startswith("Question: "):
        return json.dumps({"is_valid": text not in UNFIT, "reason": "scene" if text in UNFIT else ""})
    question = text.splitlines()[0].removeprefix("Question: ")
    named = NAMED.search(question)
    name = named[1].lower() if named else ""
    said = {
        "is_valid": bool(named),
        "reason": "",
        "target_description": f"the {name}",
        "tag": f"one {name} thing",
        "timestamp": {"start": 0.0, "end": 11.0},
        "rewritten_question": NAMED.sub(PLACE, question),
        "rewritten_options": [],
        "rewritten_answer": "",
        "visual_prompt_type": "point",
    }
    return json.dumps(said)


def stage_of(body: dict) -> str:
    return ASKED[body["messages"][0]["content"]]


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture(scope="module")
def members() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    with family(folder) as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


class Made:
    """A folder of runs, and the model that they ask."""

    def __init__(self, runs: Path, server: ChatServer) -> None:
        self.server = server
        self.said = ""
        """What the last run wrote."""
        self.data = runs / "made" / "data"
        self.work = self.data / "stages"
        config = runs / "made.yaml"
        config.write_text(CONFIG)
        urls = [f"synth.{model}.base_url={server.url}" for model in ("text_model", "video_model")]
        self.command = ["videoseeker.py", "synth", str(config), f"runs_dir={runs}", *urls]
        self._door = threading.Lock()
        """Held while a request is let through or the door is shut, so that whoever shuts it knows all who are in."""
        self._shut, self._passed, self._at, self._last = False, Counter[str](), "", STAGES[-1]
        self._let_through = 0
        """Requests over all runs that are, or will be, answered."""
        server.script = reply
        server.held = self._held

    def asked(self) -> list[str]:
        """What was asked and answered, in order."""
        return [json.dumps(body["messages"]) for body in self.server.answered]

    def outputs(self) -> dict[str, bytes]:
        """What a user gets, without the folder's own name in it."""
        files = [path for path in sorted(self.data.rglob("*")) if path.is_file() and self.work not in path.parents]
        return {
            str(path.relative_to(self.data)): path.read_bytes().replace(str(self.data).encode(), b"") for path in files
        }

    @contextmanager
    def caught(self, stage: str, all_die: bool) -> Iterator[int]:
        """While a stage has records in work, some of its requests are answered and kept, and none is about to be: its
        worker, which is to be killed if not all are. The server answers again once it knows who is gone, but no stage
        after this one before that is to be caught too."""
        self._at = self._last = stage
        self._passed.clear()
        if stage in ASKED.values():
            wait_until(lambda: stage in map(stage_of, self.server.waiting), f"the {stage} stage asked nothing")
            [pid, *_] = self._in_work(stage)
        else:
            pid = self._stopped(stage)
            with self._door:
                self._shut = True
        wait_until(lambda: self._kept() == self._let_through, "an answer was not kept")
        assert self._in_work(stage)
        yield pid
        wait_until(
            lambda: not any(all_die or stage_of(body) == stage for body in self.server.waiting),
            "the server did not see that who asked is gone",
        )
        self._at, self._shut = "", False

    def _held(self, body: dict) -> bool:
        stage = stage_of(body)
        if STAGES.index(stage) > STAGES.index(self._last):
            return True
        with self._door:
            if stage == self._at and self._passed[stage] == ANSWERED_BEFORE:
                self._shut = True
            if not self._shut:
                self._passed[stage] += 1
                self._let_through += 1
            return self._shut

    def _stopped(self, stage: str) -> int:
        """The worker of a stage that asks nobody, stopped with a record in work."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            for pid in self._in_work(stage):
                os.kill(pid, signal.SIGSTOP)
                if pid in self._in_work(stage):
                    return pid
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.002)
        raise AssertionError(f"the {stage} stage was never seen at work")

    def _in_work(self, stage: str) -> list[int]:
        """The workers that have records of a stage in work, as its journals say."""
        found = []
        for path in sorted((self.work / stage).glob("*.journal")):
            pid, in_work = 0, set[str]()
            try:
                lines = path.read_text().splitlines()
            except FileNotFoundError:
                continue
            for line in filter(None, lines):
                try:
                    row = json.loads(line)
                except ValueError:  # just being written
                    continue
                if "worker" in row:
                    pid, in_work = row["worker"], set()
                elif "begin" in row:
                    in_work.add(row["begin"])
                else:
                    in_work.discard(row["end"])
            if in_work and Path(f"/proc/{pid}").exists():
                found.append(pid)
        return found

    def _kept(self) -> int:
        return sum(len(log.read_bytes().splitlines()) for log in self.work.glob("answers/answers/*.log"))


@pytest.fixture(scope="module")
def undisturbed(members: Family, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run that nobody disturbed."""
    with chat_server() as server:
        made = Made(tmp_path_factory.mktemp("runs"), server)
        done = members.run(*made.command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"models gave {len(server.answered)} replies" in done.stdout
    assert {"train.jsonl", "test.jsonl", "rejected.jsonl", "dataset/README.md"} <= set(made.outputs())
    assert set(map(stage_of, server.answered)) == set(ASKED.values())
    return made


Killed = tuple[Made, dict[str, list[int]]]


@pytest.fixture(scope="module")
def killed(members: Family, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A folder in which at each stage the driver was killed, the run was started again, and a worker was killed; and by
    stage, what was answered before and between."""
    answered: dict[str, list[int]] = {}
    with chat_server() as server:
        made = Made(tmp_path_factory.mktemp("killed"), server)
        run = members.start(*made.command)
        for stage in STAGES:
            with made.caught(stage, all_die=True):
                answered[stage] = [len(server.answered)]
                run.send_signal(signal.SIGKILL)
                run.wait(30)
                members.end()
            run = members.start(*made.command, f"synth.workers={2 if stage == 'mask' else 1}")
            with made.caught(stage, all_die=False) as worker:
                answered[stage].append(len(server.answered))
                os.kill(worker, signal.SIGKILL)
                wait_until(partial(is_over, worker), "the worker outlived its kill")
        made.said, _ = run.communicate(timeout=DEADLINE_S)
        assert run.returncode == 0, made.said
    assert not members.gone()
    return made, answered


def test_what_comes_out_is_what_a_run_makes_that_nobody_disturbed(undisturbed: Made, killed: Killed) -> None:
    made, _ = killed
    assert made.outputs() == undisturbed.outputs()
    asked = made.asked()
    assert set(asked) == set(undisturbed.asked())
    assert re.findall(r"models gave (\d+) replies", made.said) == [str(len(asked))]


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_of_the_driver_and_of_a_worker_pays_no_answer_twice(stage: str, killed: Killed) -> None:
    made, answered = killed
    asked = made.asked()
    assert len(answered[stage]) == 2
    for count in answered[stage]:
        assert not set(asked[:count]) & set(asked[count:])


def test_the_datasheet_says_what_the_models_took(undisturbed: Made) -> None:
    asked = Counter(map(stage_of, undisturbed.server.answered))
    sheet = undisturbed.outputs()["dataset/README.md"].decode()
    read, written = 100 * asked["text"], 10 * asked["text"]
    usd = (200 * read + 800 * written) / 1e6
    assert f"| 1 text filter | `words` | {asked['text']} | {read:,} | {written} | {usd:.2f} |" in sheet
    assert f"| 2 video verification | `eyes` | {asked['video']} |" in sheet
    assert f"| 4 marks and rewriting | `words` | {asked['mark']} |" in sheet
