"""What a question about a world is: whom it is about, when that one is marked, and its words."""

from dataclasses import dataclass, fields
from itertools import product

from configs.world import SEEKING_KINDS
from storage.files import JsonObject
from synth.world.world import COLOURS, DIRECTIONS, World

DIMENSIONS = {
    "attribute": "OA",
    "direction": "OD",
    "feature": "FM",
    "forward": "FT",
    "reverse": "RT",
    "sequence": "AS",
    "spatial": "SR",
    "counting": "GC",
    "before_leaving": "RT",
    "after_return": "FT",
    "before_repaint": "RT",
    "after_repaint": "FT",
    "meanwhile": "PU",
    "return_side": "OD",
    "when": "FM",
    "around": "AS",
}
"""V2P-Bench dimension of each question kind."""
TOLD_TEXTS = {
    "attribute": "What colour is {target}?",
    "direction": "Which way does {target} dart between {start} s and {end} s?",
    "feature": "Between {start} s and {end} s, which colour does {target} flash?",
    "forward": "Which colour does {target} flash between the marked moment and {end} s?",
    "reverse": "Which colour did {target} flash between {start} s and the marked moment?",
    "sequence": "From {start} s to {end} s, {target} flashes two colours. Which one comes first?",
    "spatial": "Is {target} {choice} the {other} one between {start} s and {end} s?",
    "counting": "How often does {target} vanish between {start} s and {end} s?",
}
ASKED = {
    "flash": "Which colour does {target} flash",
    "double": "Which colour comes first when {target} flashes two",
    "dart": "Which way does {target} dart",
    "blink": "How often does {target} vanish",
}
"""What a question asks about an event, by the event's kind."""
PLACED = {
    "before_leaving": "the last time before it leaves",
    "after_return": "the first time after it comes back",
    "before_repaint": "the last time before it changes colour",
    "after_repaint": "the first time after it changed colour",
    "meanwhile": "while the {other} one is away",
}
"""When that event was, by what is seen of it in the first look."""
CHANGES = {"leave": "leave", "return": "come back", "repaint": "change colour"}
WITHIN_S = 1.0
"""How far the answer of a question that asks when may be off, seconds."""
TARGETS = {
    "rectangle": "the target in the box",
    "mask_contour": "the outlined target",
    "ellipse": "the circled target",
    "triangle": "the target in the triangle",
    "scribble": "the target under the scribble",
    "point": "the target with the dot",
    "arrow": "the target at the arrow",
    "set_of_mark": "target number 1",
}
"""How a question names its target, by kind of visual prompt. It never tells what the target is."""


@dataclass(frozen=True)
class WorldQuestion:
    """One question before its frame is drawn."""

    kind: str
    target: int
    """Index of the instance."""
    mark_time_s: float
    """Time of the marked frame."""
    window: tuple[int, int] | None = None
    """Stretch that is told, seconds; None if none is."""
    other: int | None = None
    """The second instance of a question about two."""
    axis: str | None = None
    """`column` or `row` of a spatial question."""
    asks: str | None = None
    """Kind of the event that a seeking question asks about; of one that asks when, the change: `leave`, `return` or
    `repaint`."""

    @classmethod
    def of(cls, facts: JsonObject) -> "WorldQuestion":
        """The question that is among the facts of a record or task."""
        asked = {field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        return cls(**{**asked, "window": facts["window"] and tuple(facts["window"])})

    def text(self, world: World, prompt_kind: str) -> str:
        """The question in words, its target named by the mark."""
        return self.named(world, TARGETS[prompt_kind])

    def named(self, world: World, target: str) -> str:
        """The question in words, with a name of one's own for the target."""
        start, end = self.window or (0, 0)
        return self._form().format(
            target=target,
            start=start,
            end=end,
            choice="left or right of" if self.axis == "column" else "above or below",
            other=world.instances[self.other].colour if self.other is not None else "",
        )

    def _form(self) -> str:
        if self.kind in PLACED:
            return f"{ASKED[self.asks or '']} {PLACED[self.kind]}?"
        if self.kind == "return_side":
            return "From which side does {target} come back?"
        if self.kind == "when":
            return f"When does {{target}} {CHANGES[self.asks or '']}? Answer in seconds, to within {WITHIN_S:g} s."
        if self.kind == "around":
            what = "colours does {target} flash" if self.asks == "flash" else "ways does {target} dart"
            return f"Which {what}, the last time before it leaves and the first time after it comes back?"
        return TOLD_TEXTS[self.kind]

    def colour(self, world: World) -> str:
        """The colour in which its target is marked, by which it is known in other frames."""
        return world.instances[self.target].own_colour(self.mark_time_s)

    @property
    def seeks(self) -> bool:
        """Whether it names what happens, and not when."""
        return self.kind in SEEKING_KINDS

    @property
    def tolerance(self) -> float | None:
        """How far a number may be off and still be right; None where the answer is no such number."""
        return WITHIN_S if self.kind == "when" else None


def vocabulary(question: WorldQuestion) -> tuple[str, ...]:
    """The closed vocabulary of a question's answers; empty for one that asks for a time."""
    if question.kind == "when":
        return ()
    if question.kind == "around":
        words = COLOURS if question.asks == "flash" else DIRECTIONS
        return tuple(f"{first}, {second}" for first, second in product(words, repeat=2))
    if question.kind == "direction" or question.asks == "dart":
        return tuple(DIRECTIONS)
    if question.kind == "counting" or question.asks == "blink":
        return ("1", "2", "3")
    if question.kind == "return_side":
        return ("left", "right")
    if question.kind == "spatial":
        return ("left", "right") if question.axis == "column" else ("above", "below")
    return tuple(COLOURS)
