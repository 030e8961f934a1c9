"""What goes wrong in a pipeline's worker, brought to the driver: Ray Data passes on the text of an error alone."""

from collections.abc import Iterable


class SynthError(RuntimeError):
    """Data could not be made; the message is one sentence."""


def raise_first(errors: Iterable[str]) -> None:
    """Raise the first error that is not empty as a `SynthError`."""
    for error in errors:
        if error:
            raise SynthError(error)
