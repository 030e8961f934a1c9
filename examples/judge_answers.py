"""Judge a file of answers, made by whatever you like: `python examples/judge_answers.py tasks.jsonl answers.jsonl`.

A line of answers is `{"id": task id, "answer": text}`; a task without one counts as wrong. Without arguments both files
are made here.
"""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from configs import load_config
from env.judging.rules import judge
from env.task import load_tasks, save_tasks
from synth.world.tasks import make_video

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"


def report(tasks_file: Path, answers_file: Path) -> None:
    answers = {row["id"]: row["answer"] for row in map(json.loads, answers_file.read_text().splitlines())}
    scores: dict[str, list[float]] = defaultdict(list)
    for task in load_tasks(tasks_file):
        scores[task.dimension].append(judge(task, answers.get(task.id)))
    for dimension, values in sorted(scores.items()):
        print(f"{dimension}: {sum(values):.0f} of {len(values)} right")


def main() -> None:
    if len(sys.argv) == 3:
        return report(Path(sys.argv[1]), Path(sys.argv[2]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = make_video("test", 0, load_config(DEMO), folder)
        save_tasks(folder / "tasks.jsonl", tasks)
        rows = [{"id": task.id, "answer": f"It's {task.answer}."} for task in tasks[1:]]
        (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        report(folder / "tasks.jsonl", folder / "answers.jsonl")


if __name__ == "__main__":
    main()
