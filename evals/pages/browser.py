"""The episode browser: every episode that a run kept, to filter, to read whole and to lay side by side.

Invariant: the index holds a line an episode; an episode itself is read when it is asked for, from its own file.
"""

import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from env.lessons import lesson_in, lessons_in
from env.trajectory import Trajectory, TrajectoryError
from evals.answers import ENDING
from evals.pages.filmstrip import Film, errors_shown_by_calls, film
from evals.pages.moved import at_hand
from evals.pages.report import DIMENSIONS, number, percent
from evals.score import accuracy_of
from pages.rendering import render
from storage.files import JsonObject, placed_rows, row_at
from storage.logs import LogReader, json_object

TEMPLATE = Path(__file__).with_name("browser.html")
FRAGMENT = Path(__file__).with_name("browsed.html")
Decode = Callable[[Sequence[int]], str]
"""The text of token ids."""


@dataclass(frozen=True)
class Source:
    """A file of episodes."""

    name: str
    """What people call it, e.g. `training step 12`."""
    file: Path
    step: int | None = None
    """Training step after which, or in which, they were played; None if it is not of a step."""


@dataclass(frozen=True)
class Entry:
    """What the index says of an episode."""

    key: int
    source: str
    step: int | None
    task: str
    question: str
    expected: str
    answer: str | None
    accuracy: float
    reward: float
    advantage: float | None
    dimension: str
    kind: str
    stop: str
    calls: int


@dataclass(frozen=True)
class Token:
    """A sampled token."""

    text: str
    surprise: float
    """1 less its probability, 0 to 1."""
    logprob: float


class RunEpisodes:
    """The episodes of a run's files."""

    def __init__(self, sources: Sequence[Source], only: Container[str] | None = None) -> None:
        """Take the episodes of the tasks that `only` names, None for all. Raises TrajectoryError: a file cannot be
        read."""
        self.entries: list[Entry] = []
        self._places: list[tuple[Path, int]] = []
        for source in sources:
            for place, episode in _episodes(source.file):
                if only is not None and episode.task_id not in only:
                    continue
                self.entries.append(_entry(len(self.entries), source, episode))
                self._places.append((source.file, place))

    def load(self, key: int) -> Trajectory:
        """The episode of an entry. Raises TrajectoryError: there is none, or it can no longer be read."""
        if not 0 <= key < len(self._places):
            raise TrajectoryError(f"no episode {key}; there are {len(self._places)}")
        file, place = self._places[key]
        if file.suffix == ".arrow":
            return at_hand(lesson_in(file, place), file)
        try:
            with open(file, "rb") as rows:
                return at_hand(Trajectory.from_dict(_episode_of(row_at(file, rows, place))), file)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise TrajectoryError(f"{file}: episode {key} can no longer be read ({error})") from None


def _episodes(file: Path) -> Iterator[tuple[int, Trajectory]]:
    if file.suffix == ".arrow":
        yield from ((place, lesson_in(file, place)) for place in range(lessons_in(file)))
        return
    if file.suffix == ENDING:
        rows = ((place, json_object(line)) for _, place, line in LogReader(file.parent, file.name).news())
        yield from ((place, Trajectory.from_dict(row["episode"])) for place, row in rows if row and "episode" in row)
        return
    try:
        for number_of_line, place, row in placed_rows(file):
            try:
                yield place, Trajectory.from_dict(row)
            except (ValueError, TypeError, KeyError) as error:
                raise TrajectoryError(f"{file}:{number_of_line}: not an episode ({error})") from None
    except (OSError, ValueError) as error:
        raise TrajectoryError(str(error)) from None


def _episode_of(row: JsonObject) -> JsonObject:
    """The episode of a row: the row itself, or of a benchmark's answers what it holds."""
    found: JsonObject = row.get("episode", row)
    return found


def _entry(key: int, source: Source, episode: Trajectory) -> Entry:
    return Entry(
        key=key,
        source=source.name,
        step=source.step,
        task=episode.task_id,
        question=episode.question.splitlines()[0] if episode.question else "",
        expected=episode.expected,
        answer=episode.answer,
        accuracy=accuracy_of(episode),
        reward=round(episode.rewards.total, 4),
        advantage=None if episode.advantage is None else round(episode.advantage, 4),
        dimension=episode.dimension,
        kind=episode.kind,
        stop=episode.stop,
        calls=len(episode.calls),
    )


def page(name: str, episodes: RunEpisodes, decode: Decode | None = None, most: int = 0) -> str:
    """The browser as a page. With `most`, about that many episodes are embedded, the first of each source, and the page
    needs no server; without, it asks one for each (`fragment`)."""
    all_fit = not most or len(episodes.entries) <= most
    shown = episodes.entries if all_fit else _of_each_source(episodes.entries, most)
    whole = {entry.key: fragment(episodes.load(entry.key), decode) for entry in shown} if most else {}
    values = {
        "name": name,
        "entries": [asdict(entry) for entry in shown],
        "whole": whole,
        "left_out": len(episodes.entries) - len(shown),
        "dimensions": DIMENSIONS,
    }
    return render(TEMPLATE, values)


def _of_each_source(entries: Sequence[Entry], most: int) -> list[Entry]:
    """The first entries of each source, which are of the same questions where those are asked in order; at least one of
    each."""
    sources: dict[str, list[Entry]] = {}
    for entry in entries:
        sources.setdefault(entry.source, []).append(entry)
    return [entry for of_source in sources.values() for entry in of_source[: max(1, most // len(sources))]]


def fragment(episode: Trajectory, decode: Decode | None = None) -> str:
    """One episode, as a part of the page; `decode` gives the text of tokens, None where the tokenizer is not there."""
    shown: Film = film(episode)
    values = {
        "f": shown,
        "names": DIMENSIONS,
        "errors_shown_by_calls": errors_shown_by_calls,
        "turns": tokens_of(episode, decode) if decode else [],
        "advantage": episode.advantage,
        "tint": min(1.0, abs(episode.advantage or 0.0) / 2),
    }
    return render(FRAGMENT, values, {"number": number, "percent": percent})


def tokens_of(episode: Trajectory, decode: Decode) -> list[list[Token]]:
    """The sampled tokens of each turn."""
    transcript, turns, before = episode.transcript, list[list[Token]](), False
    for token, sampled, logprob in zip(transcript.ids, transcript.sampled, transcript.logprobs, strict=True):
        if sampled:
            if not before:
                turns.append([])
            probability = math.exp(min(0.0, logprob))
            turns[-1].append(Token(decode([token]), round(1.0 - probability, 4), round(logprob, 3)))
        before = sampled
    return turns
