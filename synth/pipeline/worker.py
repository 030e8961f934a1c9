"""One stage at work on shards: the body of the pipeline's actors.

Invariants: every record of the input ends in the output, let through, rejected or set aside with its reason; what is
the run's trouble and not the record's (an endpoint that is gone, a spent budget, no decoder) ends the shard and reaches
the driver; a record that is tried alone is the only one in work of all the worker's shards.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

from actors.errors import sentence
from endpoint.endpoint import AnswerError, BudgetError, EndpointError
from endpoint.parts import PartError
from synth.errors import SynthError
from synth.motion.background import MovingCameraError
from synth.pipeline.shards import Journal, read_records, shard_file
from synth.record import Record, Rejected
from tools.decoding.frame import BusyError, DeadlineError, DecoderError, VideoError

IN_WORK = 256
"""Records of one shard in work at once; what they wait for has its own bounds."""
ASIDE = "set aside: "
"""Begins the reason of a record that could not be handled, which says nothing against the record itself."""
GIVEN_UP = ASIDE + "its worker died with it again and again"


Stage = Callable[[Record], Awaitable[Record | Sequence[Record]]]
"""What a record becomes in one stage; one that makes questions makes several. It raises `Rejected` where the record
does not get through, and `EndpointError`, `BudgetError` or `DecoderError` where the run cannot go on."""


class ShardRow(TypedDict):
    """What travels through Ray Data: the number of a shard, and the error that ended its work, empty if none did."""

    shard: int
    error: str


class StageWorker:
    """Works on shards, several at once; a Ray Data actor."""

    def __init__(self, make: Callable[[], Stage], before: Path, after: Path, run: str) -> None:
        """Reads shards from the folder `before` and writes them to `after`, which has the stage's name, one of
        `synth.record.STAGES`; `run` is the journals'."""
        try:
            self._stage: Stage | str = make()
        except Exception as error:  # noqa: BLE001 - what an actor's making raises would be tried again for ever
            self._stage = _sentence(error)
        self._before, self._after, self._run = before, after, run
        self._room = _Room()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __call__(self, row: ShardRow) -> ShardRow:
        """Do the shard that the row names, if it is not done; a row with an error is passed on."""
        if row["error"] or shard_file(self._after, row["shard"]).exists():
            return row
        if isinstance(self._stage, str):
            return {**row, "error": self._stage}
        try:
            asyncio.run_coroutine_threadsafe(self._work(row["shard"], self._stage), self._loop).result()
        except Exception as error:  # noqa: BLE001 - Ray Data passes on no error's class: the driver raises it
            return {**row, "error": _sentence(error)}
        return row

    async def _work(self, index: int, stage: Stage) -> None:
        records = read_records(shard_file(self._before, index))
        journal = Journal(self._after, index, self._run)
        places = asyncio.Semaphore(IN_WORK)

        async def do(record: Record, alone: bool = False) -> None:
            async with places, self._room.alone() if alone else self._room.shared():
                journal.begin(record, alone)
                journal.end(record, await self._made(stage, record))

        try:
            left = []
            for record in records:
                if record.id in journal.done:
                    continue
                if record.rejected_by:
                    journal.end(record, [record])
                elif journal.hopeless(record):
                    journal.end(record, [record.rejected(self._after.name, GIVEN_UP)])
                else:
                    left.append(record)
            await _all(do(record) for record in left if not journal.suspected(record))
            for record in left:
                if journal.suspected(record):
                    await do(record, alone=True)
            journal.finish(records)
        finally:
            journal.close()

    async def _made(self, stage: Stage, record: Record) -> list[Record]:
        try:
            made = await _unless_busy(stage, record)
        except Rejected as reason:
            return [record.rejected(self._after.name, str(reason))]
        except (EndpointError, BudgetError, DecoderError):
            raise
        except AnswerError as error:
            return [record.rejected(self._after.name, ASIDE + str(error), error.detail)]
        except Exception as error:  # noqa: BLE001 - a record that cannot be handled is set aside, and never ends the run
            return [record.rejected(self._after.name, ASIDE + _clause(error), sentence(error))]
        return [made] if isinstance(made, Record) else list(made)


async def _unless_busy(stage: Stage, record: Record) -> Record | Sequence[Record]:
    """What the stage makes of the record, once what it needs is free: whoever holds that has a deadline."""
    while True:
        try:
            return await stage(record)
        except BusyError:
            await asyncio.sleep(0)


class _Room:
    """What is in work in one worker: records of all its shards, or one alone."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._left = asyncio.Event()
        self._inside = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """With others, once nobody is or waits to be alone."""
        async with self._door:
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._left.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """With nobody else."""
        async with self._door:
            while self._inside:
                self._left.clear()
                await self._left.wait()
            yield


FOR_PEOPLE = (SynthError, EndpointError, BudgetError, ValueError)
"""Errors whose text is a sentence as it is."""


def _sentence(error: Exception) -> str:
    """One sentence on an error that ends the run."""
    return " ".join(str(error).split()) if isinstance(error, FOR_PEOPLE) else sentence(error)


def _clause(error: Exception) -> str:
    """What kept a record from being handled, without the words of this one case, so that it can be counted."""
    match error:
        case MovingCameraError():
            return "the camera moves"
        case DeadlineError():
            return "it took too long"
        case VideoError() | PartError():
            return "the video cannot be read"
    return f"failed with {type(error).__name__}"


async def _all(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Run all; the first error cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
