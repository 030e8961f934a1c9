"""Benchmarks from the command to the page: a tiny model on a real engine, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import load_config
from configs.load import ConfigError
from configs.run import Config
from endpoint.endpoint import EndpointError
from env.datasets.reading import read_benchmark
from env.datasets.rows import SourceError
from env.judging.judge import JudgeError
from env.task import load_tasks
from evals.responses import ResponseError
from recipes.folder import RunFolderError
from recipes.studies import benchmarks
from recipes.studies.benchmarks import Part, check_benchmark, in_mode, part_of, run_benchmarks
from tests.films import benchmarks as films
from tests.models.tiny import build_tiny_model
from tests.servers.chat_server import ChatServer, chat_server

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Two benchmarks, by their names."""
    made = {}
    for name in ("V2P-Bench", "Video-MME"):
        (tmp_path / name).mkdir()
        made[name] = str(films.MAKERS[name](tmp_path / name))
    return made


def config(tmp_path: Path, *overrides: str, demo: bool = False) -> Config:
    return load_config(ROOT / "configs" / "demo.yaml" if demo else None, [f"runs_dir={tmp_path}/runs", *overrides])


def with_server(tmp_path: Path, server: ChatServer, *overrides: str) -> Config:
    words = (f"eval.server.base_url={server.url}", "eval.server.model=org/eyes", "episode.prompt_max_frames=4")
    return config(tmp_path, *words, *overrides)


@pytest.mark.slow
def test_a_checkpoint_plays_benchmarks_in_every_mode_and_part_by_part(
    tmp_path: Path, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path, "engine.engines=1", "episode.max_frames=6", "episode.prompt_max_frames=4", demo=True)
    model = build_tiny_model(made.model.tiny, ["What does it do? A. B. It runs."] * 20, tmp_path / "model", 0)
    page = run_benchmarks(made, str(model), folders, benchmarks.MODES, part_of(1, ""), name="tiny")
    text = page.read_text()
    for name in folders:
        assert f"## {name}" in text
    for mode in benchmarks.MODES:
        assert f"| tiny | {mode} |" in text
    assert "| 1 of 3 |" in text
    assert "| VideoSeeker-8B | published | 74.5 |" in text
    text = run_benchmarks(made, str(model), folders, ["tools"], part_of(0, "2/2"), name="tiny").read_text()
    assert "| 2 of 3 |" in text

    def not_again(*_: Any) -> Any:
        raise AssertionError("engines came up for questions that were answered")

    text = run_benchmarks(made, str(model), folders, ["tools"], part_of(0, "1/2"), name="tiny").read_text()
    assert "| 3 of 3 |" in text
    monkeypatch.setattr(benchmarks, "players", not_again)
    assert run_benchmarks(made, str(model), folders, ["tools"], name="tiny").read_text() == text


def test_a_server_s_model_stands_in_the_same_table_and_other_settings_in_another(
    tmp_path: Path, folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server() as server:
        server.script = lambda _: "<answer>A</answer>"
        made = with_server(tmp_path, server)
        page = run_benchmarks(made, benchmarks.SERVER, folders, ["reasoning"])
        assert "| org-eyes | reasoning | 33.3 |" in page.read_text()
        assert "the models gave 5 replies" in capsys.readouterr().out
        other = with_server(tmp_path, server, "episode.prompt_max_frames=2")
        with pytest.raises(RunFolderError, match="give this one a name of its own with --as"):
            run_benchmarks(other, benchmarks.SERVER, folders, ["reasoning"])
        text = run_benchmarks(other, benchmarks.SERVER, folders, ["reasoning"], name="two frames").read_text()
    assert "| two frames | reasoning |" in text
    assert "| org-eyes | reasoning | 33.3 |" in text
    assert "would be scored as" not in text
    with pytest.raises(ResponseError, match="--also-scored-as: no rule 'mine'"):
        run_benchmarks(other, benchmarks.SERVER, folders, ["reasoning"], name="two frames", published=["mine"])


def test_saved_responses_stand_in_the_same_table(tmp_path: Path, folders: dict[str, str]) -> None:
    one = {"V2P-Bench": folders["V2P-Bench"]}
    tasks = read_benchmark("V2P-Bench", one["V2P-Bench"]).tasks

    def saved(name: str, *rows: tuple[str, str]) -> str:
        file = tmp_path / name
        file.write_text("".join(json.dumps({"id": id, "response": said}) + "\n" for id, said in rows))
        return str(file)

    right = [(task.id, f"<think>Hm.</think>The answer is ({task.answer}).") for task in tasks]
    file = saved("gpt 4o.jsonl", *right[:2])
    text = run_benchmarks(config(tmp_path), file, one, published=["v2p_bench"]).read_text()
    assert "| gpt-4o | saved | 66.7 |" in text, "what has no response is wrong"
    assert "| 3 of 3 | " in text
    assert f"{tasks[2].id}: gpt 4o.jsonl has no response to it" in text
    assert "| gpt-4o | saved | - | - | - | - | - | - | - |" in text
    assert run_benchmarks(config(tmp_path), file, one, published=["v2p_bench"]).read_text() == text
    saved("gpt 4o.jsonl", *right)
    with pytest.raises(RunFolderError, match="or of this one before it was changed; give this one a name of its own"):
        run_benchmarks(config(tmp_path), file, one)
    Path(tasks[0].video).unlink()
    assert "| all | saved | 100.0 |" in run_benchmarks(config(tmp_path), file, one, name="all").read_text()
    first = run_benchmarks(config(tmp_path), file, one, part=part_of(1, ""), name="first").read_text()
    assert "| 1 of 3 |" in next(line for line in first.splitlines() if line.startswith("| first |"))
    for rows, why in (
        ([("who", "A")], ":1: its id 'who' is of no question"),
        ([right[0], right[0]], ":2: a second response to"),
    ):
        with pytest.raises(ResponseError, match=why):
            run_benchmarks(config(tmp_path), saved("odd.jsonl", *rows), one)
    with pytest.raises(ConfigError, match="are to one benchmark, and have no --mode"):
        run_benchmarks(config(tmp_path), file, folders)
    with pytest.raises(ConfigError, match="are to one benchmark, and have no --mode"):
        run_benchmarks(config(tmp_path), file, one, ["tools"])


def test_other_settings_of_what_answered_nothing_are_taken_and_another_judge_is_not(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    with chat_server() as server:
        server.script = lambda _: 401
        only = {"V2P-Bench": folders["V2P-Bench"]}
        with pytest.raises(EndpointError):
            run_benchmarks(
                with_server(tmp_path, server, "eval.server.retries=0"), benchmarks.SERVER, only, ["reasoning"]
            )
        server.script = lambda _: "<answer>B</answer>"
        other = with_server(tmp_path, server, "episode.prompt_max_frames=2")
        assert "66.7" in run_benchmarks(other, benchmarks.SERVER, only, ["reasoning"]).read_text()
        server.script = lambda _: '{"reason": "", "agrees_with": "A"}'
        judge = (f"judge.model.base_url={server.url}", "judge.model.model=m", "judge.by=model")
        strict = with_server(tmp_path, server, "episode.prompt_max_frames=2", *judge)
        with pytest.raises((RunFolderError, JudgeError)):
            run_benchmarks(strict, benchmarks.SERVER, only, ["reasoning"])


def test_two_sets_of_one_name_never_meet(tmp_path: Path, folders: dict[str, str]) -> None:
    (tmp_path / "own").mkdir()
    own = str(films.plain(tmp_path / "own"))
    (tmp_path / "more").mkdir()
    more = tmp_path / "more"
    films.film(more / "z.mp4")
    films.json_lines(more / "x.jsonl", [{"video": "z.mp4", "question": "Who?", "answer": "me"}])
    with chat_server() as server:
        server.script = lambda _: "<answer>B</answer>"
        made = with_server(tmp_path, server)
        twice = {"V2P-Bench": folders["V2P-Bench"], "v2p_bench": folders["V2P-Bench"]}
        with pytest.raises(ConfigError, match="--bench: V2P-Bench is named twice"):
            run_benchmarks(made, benchmarks.SERVER, twice, ["reasoning"])
        run_benchmarks(made, benchmarks.SERVER, {"own": own}, ["reasoning"])
        with pytest.raises(RunFolderError, match="holds other questions of that name"):
            run_benchmarks(made, benchmarks.SERVER, {"own": str(more)}, ["reasoning"], name="x2")


@pytest.mark.parametrize("label", ["../x", "a/b", "..", "marks", "a|b", "a\nb", " "])
def test_a_name_that_is_no_folder_s_is_refused(label: str, tmp_path: Path, folders: dict[str, str]) -> None:
    with chat_server() as server, pytest.raises(ConfigError, match="--as"):
        run_benchmarks(with_server(tmp_path, server), benchmarks.SERVER, folders, ["reasoning"], name=label)


def test_half_a_download_is_refused_or_played_without_the_rest(tmp_path: Path, folders: dict[str, str]) -> None:
    (Path(folders["V2P-Bench"]) / "videos" / "Set" / "b.avi").unlink()
    with chat_server() as server:
        server.script = lambda _: "<answer>B</answer>"
        made = with_server(tmp_path, server)
        with pytest.raises(SourceError, match=r"1 files of V2P-Bench are not there, the first Set/b\.avi"):
            run_benchmarks(made, benchmarks.SERVER, folders, ["reasoning"])
        assert not server.bodies
        page = run_benchmarks(made, benchmarks.SERVER, folders, ["reasoning"], skip_missing=True)
    assert "| org-eyes | reasoning | 100.0 | 100.0 to 100.0 | 2 of 2 |" in page.read_text()
    assert len(load_tasks(page.parent / "V2P-Bench" / "tasks.jsonl")) == 2


def test_what_is_there_is_listed(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(folders["V2P-Bench"])
    (folder / "videos" / "Set" / "b.avi").unlink()
    with (folder / "dataset_info.jsonl").open("a") as file:
        file.write('{"video_path": "Set/a.mp4"}\n')
    check_benchmark("V2P-Bench", folder)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "V2P-Bench: 2 questions about 1 films can be played, 1 lack a file, 1 cannot be read"
    assert said[1].endswith("dataset_info.jsonl:4 has no 'question'")
    assert said[2] == "  not there: Set/b.avi"


@pytest.mark.parametrize(
    ("limit", "shard", "part", "taken"),
    [
        (0, "", Part(), [0, 1, 2, 3, 4, 5, 6]),
        (3, "", Part(3), [0, 1, 2]),
        (0, "2/3", Part(0, 1, 3), [1, 4]),
        (5, "1/2", Part(5, 0, 2), [0, 2, 4]),
    ],
)
def test_parts_are_disjoint_and_make_the_whole(limit: int, shard: str, part: Part, taken: list[int]) -> None:
    assert part_of(limit, shard) == part
    numbers: Any = list(range(7))
    assert part.of(numbers) == taken


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda _: part_of(-1, ""), "--limit -1"),
        (lambda _: part_of(0, "3/2"), "--shard 3/2"),
        (lambda _: part_of(0, "0/2"), "--shard 0/2"),
        (lambda _: part_of(0, "x"), "--shard x"),
        (lambda path: in_mode(config(path, "episode.tools=[]"), "tools"), "--mode tools: episode.tools is empty"),
        (
            lambda path: run_benchmarks(config(path), benchmarks.SERVER, {}, ["direct"]),
            "eval.server.model: is empty; name the model",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        ask(tmp_path)


def test_without_tools_all_frames_are_in_the_first_look(tmp_path: Path) -> None:
    made = config(tmp_path, "episode.max_frames=64", "episode.prompt_max_frames=16")
    assert in_mode(made, "tools").episode == made.episode
    for mode in ("direct", "reasoning"):
        episode = in_mode(made, mode).episode  # type: ignore[arg-type]
        assert (episode.tools, episode.prompt_max_frames, episode.reasoning) == ([], 64, mode == "reasoning")
