import hashlib
import os
import threading
from pathlib import Path

from endpoint.answers import Answers


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_what_was_put_is_there_for_whoever_joins(tmp_path: Path) -> None:
    first, second = Answers(tmp_path / "a"), Answers(tmp_path / "a")
    assert second.get(key("x")) is None
    first.put(key("x"), {"says": "é\n"})
    first.put(key("y"), {})
    for answers in (first, second, Answers(tmp_path / "a")):
        assert answers.get(key("x")) == {"says": "é\n"}
        assert answers.get(key("y")) == {}
        assert answers.get(key("z")) is None


def test_the_answers_of_another_machine_count(tmp_path: Path) -> None:
    Answers(tmp_path / "a").put(key("x"), {"n": 1})
    [log] = (tmp_path / "a").iterdir()
    (tmp_path / "b").mkdir()
    os.replace(log, tmp_path / "b" / "elsewhere.log")
    answers = Answers(tmp_path / "b")
    answers.put(key("y"), {"n": 2})
    assert [answers.get(key(name)) for name in "xy"] == [{"n": 1}, {"n": 2}]


def test_the_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    Answers(tmp_path).put(key("x"), {"n": 1})
    [log] = tmp_path.iterdir()
    log.write_bytes(log.read_bytes()[:-4])
    answers = Answers(tmp_path)
    answers.put(key("y"), {"n": 2})
    assert answers.get(key("x")) is None
    assert answers.get(key("y")) == {"n": 2}


def test_threads_and_instances_append_at_once(tmp_path: Path) -> None:
    writers = [Answers(tmp_path) for _ in range(4)]

    def write(i: int) -> None:
        for n in range(100):
            writers[i].put(key(f"{i}-{n}"), {"text": f"{i}-{n}" * 50})

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reader in (*writers, Answers(tmp_path)):
        assert all(reader.get(key(f"{i}-{n}")) == {"text": f"{i}-{n}" * 50} for i in range(4) for n in range(100))
