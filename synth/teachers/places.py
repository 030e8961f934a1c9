"""Places in words: rows and columns of the grid, and which way one place lies of another."""

from synth.world.world import CELLS, DIRECTIONS

ASIDE = "From {} aside {}, so {}."
"""How a thought says which way something went: from where, by where it was then."""


def line(cell: str | None, axis: str | None) -> int:
    """Number of a cell's column or row, from 1."""
    row, column = divmod(CELLS.index(str(cell)), 3)
    return 1 + (column if axis == "column" else row)


def in_numbers(cell: str) -> str:
    """A cell in words that can be compared: `south column 2 row 3`."""
    return f"{cell} column {line(cell, 'column')} row {line(cell, 'row')}"


def aside(home: str, place: str, way: str) -> str:
    """Which way one went from a cell, by the cell in which it was then."""
    return ASIDE.format(in_numbers(home), in_numbers(place), way)


def neighbours() -> list[tuple[str, str, str]]:
    """Two cells side by side, and which way the second lies of the first: all that there are."""
    return [
        (cell, CELLS[(row + dy) * 3 + column + dx], way)
        for index, cell in enumerate(CELLS)
        for row, column in [divmod(index, 3)]
        for way, (dx, dy) in DIRECTIONS.items()
        if 0 <= row + dy < 3 and 0 <= column + dx < 3
    ]
