"""A mark that a person asks for: read from text or JSON, and drawn on the frame that the video shows at its time.

Invariant: every mistake in a mark is a `MarkError` that names the field; what passes lies inside the frame.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from configs.world import PROMPT_KINDS
from tools.decoding.video import Video
from tools.marks.canvas import Box, Point
from tools.marks.drawing import draw
from tools.marks.visual_prompt import VisualPrompt

SYNTAX = "rectangle:t=3.2,x=40,y=52,w=30,h=24"
"""A mark as text. x and y are the box's upper left corner or, without w and h, a point on the target."""
_NUMBERS = ("t", "x", "y", "w", "h")
_FIELDS = ("kind", *_NUMBERS, "points")


class MarkError(ValueError):
    """A mark that cannot be drawn; the message is one sentence."""


@dataclass(frozen=True)
class RequestedMark:
    """What to mark. Coordinates are pixels of the video or, if none is above 1, fractions of its width and height."""

    kind: str
    """One of the eight kinds, `configs.world.PROMPT_KINDS`."""
    time_s: float
    """When; the frame shown then is marked."""
    box: Box | None = None
    points: tuple[Point, ...] = ()
    """One point on the target, or its outline (three or more)."""


def parse_mark(mark: str | Mapping[str, object]) -> RequestedMark:
    """A mark from text such as `SYNTAX`, or from a JSON object `{"kind", "t", "x", "y", "w", "h"}` (also as text).

    An outline stands in place of x, y, w and h: `points=12:40;30:44;28:70`, in JSON `"points": [[12, 40], ...]`.

    Raises:
        MarkError: a field is unknown, missing or not a number.
    """
    fields = _from_text(mark) if isinstance(mark, str) else dict(mark)
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise MarkError(f"mark: unknown field '{unknown[0]}'; the fields are {', '.join(_FIELDS)}")
    kind = fields.get("kind")
    if kind not in PROMPT_KINDS:
        raise MarkError(f"mark: no kind '{kind}'; the kinds are {', '.join(PROMPT_KINDS)}")
    numbers = {name: _number(name, fields[name]) for name in _NUMBERS if fields.get(name) is not None}
    if "t" not in numbers:
        raise MarkError(f"mark: t, the time in seconds, is missing; write for example {SYNTAX}")
    box, points = _place(kind, numbers, _points(fields.get("points") or ()))
    return RequestedMark(kind, numbers["t"], box, points)


def draw_mark(mark: RequestedMark, video: Video, image: Path, timeout_s: float) -> VisualPrompt:
    """Draw the mark on the frame that the video shows at its time, at the video's own size, and save it as PNG. The
    visual prompt has the frame's true presentation time.

    Raises:
        MarkError: its time is outside of the video, or its place outside of the frame.
        VideoError: the frame cannot be decoded.
    """
    start_s = float(video.times[0])
    if not math.floor(start_s * 10) / 10 <= mark.time_s <= video.duration_s:
        begins = f"begins at {start_s:.1f} s and " if start_s >= 0.1 else ""
        raise MarkError(
            f"mark: t={mark.time_s:g} s is outside of the video, which {begins}ends at {video.duration_s:.1f} s"
        )
    [frame] = video.frames_at([mark.time_s], video.width * video.height, 1, timeout_s)
    box, points = _in_pixels(mark, video.width, video.height)
    mask = _filled(points, video.width, video.height) if len(points) > 2 else None
    point = points[0] if len(points) == 1 else None
    try:
        marked, geometry = draw(frame.pixels, mark.kind, box=box, mask=mask, point=point)
    except ValueError as error:
        raise MarkError(f"mark: {error}") from None
    Image.fromarray(marked).save(image)
    return VisualPrompt(str(image), frame.time_s, mark.kind, geometry)


def _from_text(text: str) -> dict[str, object]:
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            raise MarkError("mark: not valid JSON") from None
    kind, _, rest = text.partition(":")
    fields: dict[str, object] = {"kind": kind.strip()}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise MarkError(f"mark: '{part}' is not of the form name=value; write for example {SYNTAX}")
        points = [point.split(":") for point in filter(None, value.split(";"))]
        fields[name.strip()] = points if name.strip() == "points" else value
    return fields


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # what is none raises TypeError
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise MarkError(f"mark: {name} is not a number but '{str(value)[:50]}'")
    return number


def _points(points: object) -> tuple[Point, ...]:
    if not isinstance(points, list | tuple) or any(not isinstance(p, list | tuple) or len(p) != 2 for p in points):
        raise MarkError("mark: points is not a list of [x, y] pairs")
    return tuple((_number("points", x), _number("points", y)) for x, y in points)


def _place(kind: str, numbers: Mapping[str, float], points: tuple[Point, ...]) -> tuple[Box | None, tuple[Point, ...]]:
    """The box or the points of the target."""
    given = {name for name in "xywh" if name in numbers}
    if points and given:
        raise MarkError("mark: give either points or x, y, w, h")
    if kind == "mask_contour" and len(points) < 3:
        raise MarkError("mark: mask_contour needs the target's outline as three or more points")
    if len(points) == 2:
        raise MarkError("mark: points is one point on the target, or three or more of its outline")
    if points:
        return None, points
    if given == set("xy"):
        return None, ((numbers["x"], numbers["y"]),)
    if given != set("xywh"):
        missing = ", ".join(name for name in "xywh" if name not in given)
        raise MarkError(f"mark: {missing} missing; give x and y of a point, or x, y, w and h of a box")
    if numbers["w"] <= 0 or numbers["h"] <= 0:
        raise MarkError("mark: w and h must be above 0")
    return (numbers["x"], numbers["y"], numbers["w"], numbers["h"]), ()


def _in_pixels(mark: RequestedMark, width: int, height: int) -> tuple[Box | None, tuple[Point, ...]]:
    box, points = mark.box, mark.points
    if all(value <= 1 for value in [*(box or ()), *(value for point in points for value in point)]):
        box = (box[0] * width, box[1] * height, box[2] * width, box[3] * height) if box else None
        points = tuple((x * width, y * height) for x, y in points)
    corners = [*points, *([(box[0], box[1]), (box[0] + box[2], box[1] + box[3])] if box else ())]
    # Half a pixel of slack: a box dragged to the very edge may be rounded past it.
    if any(not (-0.5 <= x <= width + 0.5 and -0.5 <= y <= height + 0.5) for x, y in corners):
        raise MarkError(f"mark: it reaches outside of the frame, which is {width}x{height} pixels")
    return box, points


def _filled(outline: tuple[Point, ...], width: int, height: int) -> np.ndarray:
    """[height, width] bool: the inside of an outline."""
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon(outline, fill=1, outline=1)
    return np.asarray(canvas)
