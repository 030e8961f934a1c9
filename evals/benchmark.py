"""A benchmark's questions, played by a policy and scored.

Invariants: every question that was asked for is in the denominator, one that could not be played among the wrong ones
and counted beside them; questions that nobody got to are told apart from both.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.errors import sentence
from actors.rollout.chat_policy import ChatPolicy
from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import FailedEpisode, GroupOrder
from actors.rollout.loop import play
from actors.rollout.players import play_all
from configs import Config
from configs.episode import EpisodeConfig
from endpoint.endpoint import BudgetError, Endpoint, EndpointError
from env.format import UnknownFormat
from env.judging.judge import JudgeError
from env.judging.of_config import judge_of
from env.judging.replies import judge_reply, letter_of
from env.reward import judged, with_accuracy
from env.task import Task
from env.trajectory import Trajectory
from evals.answers import Answered, AnswerLog
from evals.evaluate import GREEDY, EvaluationError
from evals.score import accuracy_of
from evals.tally import SetScores, Tally, groups_of
from tools.decoding.frame import DecoderError

OnAnswer = Callable[[int], None]
"""Called with how many of the questions are done."""
TRIES = 3
"""Times that a question is played by a server's model before it is given up."""


@dataclass(frozen=True)
class BenchmarkScores(SetScores):
    """What a benchmark says about a policy."""

    asked: int
    """Questions that were asked for, of which `accuracy.questions` were played or tried."""
    failed: tuple[tuple[str, str], ...]
    """Those that could not be played, by their ids, with why; they count as wrong."""
    unread: int
    """Choices whose answer names no option, or several."""
    unanswered: int
    """Episodes that ended without an answer."""
    calls: float
    """Tool calls an episode."""
    rounds: float
    """Turns an episode."""
    frames: float
    """Frames that an episode was shown."""
    tokens: float
    """Sampled tokens an episode; characters of a model whose tokens are not known."""
    seconds: float
    """Wall time an episode."""
    tool_seconds: float
    """Of it, what tools took."""
    judge_seconds: float
    """What the judge took, an episode."""


def play_on_engines(
    dispatcher: Dispatcher, config: Config, tasks: Sequence[Task], log: AnswerLog, on: OnAnswer
) -> None:
    """Play what is unanswered on engines and env runners that are up, greedily.

    Raises:
        RolloutError: nothing was played within `grpo.rollout_timeout_s`.
        EvaluationError: engines, decoder or judge failed some, which are neither right nor wrong but still unanswered.
    """
    left = log.unanswered(tasks)
    done = len(tasks) - len(left)
    waiting: list[FailedEpisode] = []
    orders = (GroupOrder(i, task, (0,), sampling=GREEDY, episode=config.episode) for i, task in enumerate(left))
    for group in play_all(dispatcher, orders, 0, config.grpo.rollout_timeout_s):
        failure = next(iter(group.failures), None)
        if failure is None:
            log.add(group.order.task, read_freely(group.trajectories[0], group.order.task, config.episode))
        elif failure.machinery:
            waiting.append(failure)
        else:
            log.fail(group.order.task, failure.error)
        done += 1
        on(done)
    if waiting:
        raise EvaluationError(
            f"{len(waiting)} questions are still to be answered, as what plays or judges them failed; the first, "
            f"{waiting[0].task_id}: {waiting[0].error}"
        )


def play_on_server(config: Config, tasks: Sequence[Task], log: AnswerLog, replies: Path, on: OnAnswer) -> None:
    """Have the model of `eval.server` play what is unanswered, `eval.server.concurrency` questions at once. What it
    replied is kept in the folder `replies` and not paid for again.

    Raises:
        EndpointError, BudgetError: it cannot be asked, or not any more.
        JudgeError: nor can the judge.
        DecoderError: there is no process to read films with.
    """
    try:
        asyncio.run(_play_on_server(config, tasks, log, replies, on))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _play_on_server(config: Config, tasks: Sequence[Task], log: AnswerLog, replies: Path, on: OnAnswer) -> None:
    chat = UnknownFormat()
    policy = ChatPolicy(chat, Endpoint(config.eval.server, replies, "eval.server"), "eval")
    judge, places = judge_of(config), asyncio.Semaphore(config.eval.server.concurrency)
    left = log.unanswered(tasks)
    done = len(tasks) - len(left)

    async def answer(task: Task) -> None:
        nonlocal done
        async with places:
            for tried in range(1, TRIES + 1):
                try:
                    played = await play(task, policy, chat, config.episode)
                    played = await judged(played, task, config.episode, judge)
                    log.add(task, read_freely(played, task, config.episode))
                    break
                except (EndpointError, BudgetError, JudgeError, DecoderError):
                    raise
                except Exception as error:  # noqa: BLE001 - a question that cannot be played is told with its reason
                    if tried == TRIES:
                        log.fail(task, ": ".join(filter(None, [sentence(error), getattr(error, "detail", "")])))
        done += 1
        on(done)

    async with asyncio.TaskGroup() as group:
        for task in left:
            group.create_task(answer(task))


def benchmark_scores(
    tasks: Sequence[Task], log: AnswerLog, published: Iterable[str] = (), seed: int = 0
) -> BenchmarkScores | None:
    """The scores of what was answered of the questions; None where nothing was."""
    tally, rules = Tally(), tuple(published)
    sums = _Sums()
    for answered in log.answered(tasks):
        accuracy = 0.0 if answered.episode is None else accuracy_of(answered.episode)
        tally.add(answered.task, groups_of(answered.task), accuracy)
        sums.add(answered)
        if answered.task.options:
            tally.publish(answered.task, reply_of(answered.episode), rules)
    if not tally.right:
        return None
    episodes = max(1, sums.episodes)
    return BenchmarkScores(
        **vars(tally.scores(seed)),
        asked=len(tasks),
        failed=tuple(sums.failed),
        unread=sums.unread,
        unanswered=sums.unanswered,
        calls=sums.calls / episodes,
        rounds=sums.rounds / episodes,
        frames=sums.frames / episodes,
        tokens=sums.tokens / episodes,
        seconds=sums.seconds / episodes,
        tool_seconds=sums.tool_seconds / episodes,
        judge_seconds=sums.judge_seconds / episodes,
    )


Results = dict[str, dict[tuple[str, str], BenchmarkScores]]
"""By benchmark, and by policy and mode."""


def reply_of(episode: Trajectory | None) -> str:
    """The last that a policy wrote, which published scripts would read."""
    return episode.turns[-1].text if episode and episode.turns else ""


def read_freely(played: Trajectory, task: Task, config: EpisodeConfig) -> Trajectory:
    """The episode with its choice read as people read it: a model that was never taught our form says it in its own."""
    if played.answer is None or not task.options or played.rewards.accuracy:
        return played
    accuracy = judge_reply(task, played.answer)
    return with_accuracy(played, task, config, accuracy) if accuracy else played


class _Sums:
    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.episodes = self.unread = self.unanswered = self.calls = self.rounds = self.frames = self.tokens = 0
        self.seconds = self.tool_seconds = self.judge_seconds = 0.0

    def add(self, answered: Answered) -> None:
        task, episode = answered.task, answered.episode
        if episode is None:
            self.failed.append((task.id, answered.error))
            return
        self.episodes += 1
        self.unanswered += episode.answer is None
        if episode.answer is not None and task.options:
            self.unread += letter_of(episode.answer, task.options) is None
        self.calls += len(episode.calls)
        self.rounds += len(episode.turns)
        self.frames += len(episode.prompt_frames) + sum(call.frames for call in episode.calls)
        self.tokens += episode.transcript.sampled_tokens
        self.seconds += episode.seconds
        self.tool_seconds += sum(call.seconds for call in episode.calls)
        self.judge_seconds += episode.judge_s
