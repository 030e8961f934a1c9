"""The errors of inference, and one sentence for people of an error that came from another process.

Invariant: the message of each of these classes is one sentence that says what was wrong.
"""


class EngineError(RuntimeError):
    """An engine that cannot serve, or a request that it refused."""


class MissingFrames(EngineError):
    """The engine does not hold frames that were sent without pixels; send the request again with theirs."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """`names` are the ids of those frames."""
        super().__init__(names)
        self.names = names

    def __str__(self) -> str:
        return f"engine: {len(self.names)} frames were sent without pixels and are not in its cache"


class EpisodeError(RuntimeError):
    """An episode that could not be played, through no fault of the policy."""


class RolloutError(RuntimeError):
    """Episodes did not come from the env runners; the message says why in one sentence."""


def root_cause(error: BaseException) -> BaseException:
    """What a Ray task or actor raised, out of the errors that Ray wraps it in; any other error is its own cause."""
    cause = getattr(error, "cause", None)
    return root_cause(cause) if isinstance(cause, BaseException) else error


def sentence(error: BaseException) -> str:
    """An error in one line, without the traceback that Ray puts into its own."""
    cause = root_cause(error)
    text = str(cause).strip().split("\n")[0]
    return text if isinstance(cause, EngineError) else f"{type(cause).__name__}: {text}"
