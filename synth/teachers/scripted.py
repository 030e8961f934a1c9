"""A scripted teacher that plays the world's tasks with the real tools.

Its thoughts ground themselves: they say where the mark is, what the first look tells of when to look, and what is seen
in every frame that was fetched, which is what lets a small student learn from few episodes. Where a question does not
tell when to look, it looks in the gap of the first look in which what the question names changed, and if that does not
show what is asked for, it says so and looks in the next.

Its *use* of the tools is imperfect in the ways of real teachers (`TeacherConfig`): it trusts the first look where a
closer one is needed and guesses, looks somewhere before it thinks, gives up where it should look on, and looks once
more where it has seen enough. Rejection keeps its right episodes only; lucky guesses and needless calls survive that,
and are what reinforcement learning has to unlearn.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from configs.world import TeacherConfig, WorldConfig
from env.chat import ChatFormat
from env.environment import VideoEnv
from env.task import Task
from env.transcript import Transcript, Turn
from synth.teachers.footage import FootagePlan, corpus_of_footage, is_footage
from synth.teachers.foreign import in_foreign_words
from synth.teachers.lookups import EMPTY, GONE, LOOK_UP
from synth.teachers.readings import (
    closer_look,
    conclusion,
    first_look,
    inferred,
    marked,
    said_moment,
    spoken,
)
from synth.teachers.turns import (
    AGAIN,
    CLOSER,
    CONCLUDE,
    CROP,
    GUESS,
    NOT_HERE,
    SEE,
    VIEW,
    Step,
    answered,
    call,
    look,
    looked_at,
    slot_between,
)
from synth.world.question import WorldQuestion, vocabulary
from synth.world.questions import answer, evidence
from synth.world.sampling import make_world
from synth.world.seeking import Gap, searches
from synth.world.tasks import question_of
from synth.world.world import CELLS, COLOURS, SLOT_S, World
from tools.decoding.frame import VideoError


def the_mark(world: World, question: WorldQuestion) -> str:
    """Where the mark of a question is, in words."""
    return marked(world, question.target, question.mark_time_s)


class TeacherPolicy:
    """Plays any number of episodes, one after another or interleaved; each is a function of (seed, task)."""

    def __init__(self, chat: ChatFormat, teacher: TeacherConfig, world: WorldConfig, seed: int) -> None:
        self._chat = chat
        self._teacher = teacher
        self._world = world
        self._seed = seed

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The next turn of its plan for the task."""
        text = self._plan(env)[len(env.turns)](env)
        if self._teacher.wording == "foreign":
            text = in_foreign_words(text)
        ids = self._chat.encode(text)
        return Turn(ids[:max_tokens], (0.0,) * min(len(ids), max_tokens), text, "stop")

    def _plan(self, env: VideoEnv) -> list[Step]:
        """One function a turn."""
        task, tools = env.task, env.config.tools
        rng = np.random.default_rng([self._seed, *task.id.encode()])
        if is_footage(task):
            return FootagePlan(task, self._teacher, rng, env).steps(VIEW in tools, CROP in tools)
        seed, question = question_of(task)
        world = make_world(seed, self._world)
        return _Plan(world, question, task, self._teacher, rng, env).steps(VIEW in tools, CROP in tools)


class _Plan:
    """The turns of one episode, and its slips."""

    def __init__(
        self,
        world: World,
        question: WorldQuestion,
        task: Task,
        teacher: TeacherConfig,
        rng: np.random.Generator,
        env: VideoEnv,
    ) -> None:
        self._world, self._question, self._task, self._rng = world, question, task, rng
        first = [part for part in env.contents[0] if not isinstance(part, str)]
        self._coarse = [frame.time_s for frame in first if frame.ref.time_s is not None]
        hasty, rest = rng.random(), rng.random(4)
        self._hasty = bool(hasty < teacher.hasty.get(task.visual_prompts[0].kind, 0.0))
        self._wanders, self._rechecks, self._gives_up, self._looks_on = (
            bool(drawn < chance)
            for drawn, chance in zip(
                rest, (teacher.wander, teacher.recheck, teacher.give_up, teacher.look_on), strict=True
            )
        )
        self._steps: list[Step] = []
        self._said = the_mark(world, question)
        """What the next thought begins with, if it says nothing of frames."""

    def steps(self, view: bool, crop: bool) -> list[Step]:
        """One function a turn, for an agent with these tools."""
        if view:
            self._steps.append(lambda env: call("Look at the mark.", VIEW))
        if not evidence(self._world, self._question) or not crop or self._hasty:
            return self._without_a_closer_look(view)
        if self._wanders:
            astray = float(self._rng.integers(self._world.slots)) * SLOT_S
            self._look(self._said, (astray, min(astray + 2 * SLOT_S, self._world.duration_s)))
            self._said = NOT_HERE
        return self._search() if self._question.seeks else self._look_when_told()

    def _without_a_closer_look(self, view: bool) -> list[Step]:
        """What the marked frame shows, or a guess."""
        said, sure = self._said, not evidence(self._world, self._question)
        if self._rechecks and view:
            first = said
            self._steps.append(lambda env: call(first, VIEW))
            said = "It is the same."
        right = answer(self._world, self._question) if sure else self._guess()
        return [*self._steps, lambda env: answered(said if sure else f"{said} {GUESS}", right)]

    def _look_when_told(self) -> list[Step]:
        question, said = self._question, self._said
        assert question.window is not None
        start, end = question.window
        self._look(f"{said} Look from {start} s to {end} s.", question.window)
        return [*self._steps, self._conclude()]

    def _search(self) -> list[Step]:
        """Look in one gap after the other; what was seen of the events before is said with the next look."""
        world, question = self._world, self._question
        places = searches(world, question, self._coarse)
        seen = spoken(first_look(world, question, self._coarse))
        said = f"{self._said} {seen}. {inferred(world, question, self._coarse)}"
        for part, ((start, _), gaps) in enumerate(zip(evidence(world, question), places, strict=True)):
            last = part == len(places) - 1
            for gap in gaps:
                if gap is not gaps[0]:
                    self._look_on(gap, NOT_HERE)
                elif part > 0:
                    self._look_on(gap, None, part - 1)
                else:
                    self._look(said, gap)
                if gap[0] <= start <= gap[1]:
                    break
                if self._gives_up and last:
                    return [*self._steps, self._give_up(self._guess())]
        if question.asks == "blink":
            slot = int(evidence(world, question)[0][0] // SLOT_S) * SLOT_S
            self._steps.append(lambda env: self._closer(env, slot))
        if self._looks_on:
            self._look_on(gap, AGAIN)
        return [*self._steps, self._conclude(len(places) - 1)]

    def _look(self, said: str, stretch: tuple[float, float]) -> None:
        self._steps.append(lambda env: look(said, stretch))

    def _look_on(self, stretch: Gap, words: str | None, part: int = 0) -> None:
        """Say what the last look showed, and look at a stretch; without `words`, what follows for an event."""

        def step(env: VideoEnv) -> str:
            follows = words or conclusion(self._world, self._question, looked_at(env), part)
            return look(f"{self._read(env)}. {follows}", stretch)

        self._steps.append(step)

    def _closer(self, env: VideoEnv, slot_s: float) -> str:
        """Look closer at a slot inside of the last look: between two of its frames."""
        return look(f"{self._read(env)}. {CLOSER}", slot_between(looked_at(env), slot_s))

    def _give_up(self, guess: str) -> Step:
        return lambda env: answered(f"{self._read(env)}. {GUESS}", guess)

    def _conclude(self, part: int = 0) -> Step:
        """Answer by the last look, which showed that part of what is asked for."""

        def step(env: VideoEnv) -> str:
            world, question, times = self._world, self._question, looked_at(env)
            follows = conclusion(world, question, times, part)
            right = self._moment(times) if question.kind == "when" else answer(world, question)
            return answered(f"{self._read(env)}. {follows}", right)

        return step

    def _moment(self, times: Sequence[float]) -> str:
        """The moment that readings at some times tell; of options the nearest."""
        said = said_moment(self._world, self._question, times)
        if not said or not self._task.options:
            return said
        return min(self._task.options, key=lambda option: abs(float(option) - float(said)))

    def _read(self, env: VideoEnv) -> str:
        return spoken(closer_look(self._world, self._question, looked_at(env)))

    def _guess(self) -> str:
        words = self._task.options or vocabulary(self._question) or [f"{t:.1f}" for t in self._coarse]
        return str(self._rng.choice(np.array(words)))


def corpus(tasks: Sequence[Task], world_config: WorldConfig) -> Iterator[str]:
    """Texts of questions and turns, to train a tiny tokenizer on."""
    for task in tasks:
        if is_footage(task):
            with suppress(VideoError):  # one that has gone since is set aside where it is to be played
                yield from corpus_of_footage(task)
            continue
        seed, question = question_of(task)
        world = make_world(seed, world_config)
        asked = (
            f"Answer the question.\n{SEE}\n{CONCLUDE}\n{LOOK_UP}\n Follow blue. 4.0 north {EMPTY}, 4.0 red {GONE}.\n"
            f" {' '.join((*COLOURS, *CELLS))}\n"
        )
        yield f"<|im_start|>system\nAnswer with the tools {VIEW}, {CROP}.\n{asked}"
        yield f"<|im_start|>user\n{task.question}<|im_end|>\n<|im_start|>assistant\n"
        yield call("Look at the mark.", VIEW)
        mark = the_mark(world, question)
        yield answered(f"{mark} {GUESS} {NOT_HERE} {CLOSER} {AGAIN} It is the same. There is no mark.", task.answer)
        spans = evidence(world, question)
        for part, (start, end) in enumerate(spans):
            yield f"frames from {start:.1f} s to {end:.1f} s: marked frame at {question.mark_time_s:.1f} s: "
            yield look(mark, (start, end))
            first = start - 1.25 if question.window is None else question.window[0] + 0.25
            times = [first + 0.5 * i for i in range(6)]
            seen = spoken(closer_look(world, question, times))
            yield answered(f"{seen}. {conclusion(world, question, times, part)}", task.answer)
        if question.seeks:
            times = [4.0 + 8.0 * i for i in range(int(world.duration_s // 8))]
            seen = spoken(first_look(world, question, times))
            yield f"{seen} home. Leaves. Back. Turns. Away 4.0 to 12.0, back. It is 4.0."
