"""Scoring of saved responses: `python -m benchmarks.responses [--quick]`.

Figures: `score_rows_per_s`, of the whole file on all cores, and `score_s`, what the million rows took (at most 60 s).
Ratio: `memory_growth`, peak memory at the whole file over that at a tenth of it, all processes together.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import finish, table

ROWS, QUICK_ROWS = 1_000_000, 50_000
QUESTIONS_A_FILM = 3
OPTIONS = ["He opens door {}", "She closes window {}", "They leave room {}", "Nobody moves in scene {}"]
REPLIES = (
    *(["{letter}"] * 6),
    "The answer is {letter}.",
    "({letter})",
    "<think>First he comes in, so it is not the last one. It must be {letter}.</think><answer>{letter}</answer>",
    "At 0:12 the door is still shut, which rules out the first. The best answer is {letter}.",
)
"""What models write, more or less as often."""


def write(path: Path, rows: int) -> None:
    """Responses with a seed of their own, each about one of three questions of a film."""
    rng = random.Random(0)
    with open(path, "w") as file:
        for i in range(rows):
            row = {
                "id": f"question-{i}",
                "video": f"film-{i // QUESTIONS_A_FILM}.mp4",
                "response": rng.choice(REPLIES).format(letter=rng.choice("ABCD")),
                "answer": rng.choice("ABCD"),
                "options": [option.format(i) for option in OPTIONS],
                "dimension": rng.choice(("OA", "HA", "FM")),
            }
            file.write(json.dumps(row) + "\n")


def measured(path: Path) -> tuple[float, float]:
    """Seconds and peak memory, GiB, of scoring a file in a process of its own; imports aside."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.responses", "--score", str(path)], capture_output=True, text=True, check=True
    )
    seconds, gib = map(float, done.stdout.split()[-2:])
    return seconds, gib


def _score(path: str) -> None:
    from evals.published_rules import PUBLISHED
    from evals.responses import score_responses

    started = time.perf_counter()
    score_responses(path, published=list(PUBLISHED))
    seconds = time.perf_counter() - started
    kib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(seconds, kib / 2**20)


def main() -> None:
    """Write the files, score them, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--score", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.score:
        return _score(given.score)
    rows = QUICK_ROWS if given.quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for count in (rows // 10, rows):
            path = Path(folder) / f"{count}.jsonl"
            write(path, count)
            found[count] = measured(path)
    shown = [(f"{count:,}", seconds, count / seconds, gib) for count, (seconds, gib) in found.items()]
    table("saved responses, with all published scripts", ["rows", "s", "rows a s", "GiB"], shown)
    (_, less), (seconds, more) = found.values()
    figures = {
        "score_rows_per_s": round(rows / seconds),
        "score_s": round(seconds, 1),
        "score_peak_gib": round(more, 3),
    }
    return finish("responses", {"memory_growth": round(more / less, 3)}, figures)


if __name__ == "__main__":
    main()
