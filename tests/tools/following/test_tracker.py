"""Following and finding a target whose every position is known."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from configs.world import PROMPT_KINDS
from tests.films import walk
from tests.tools.test_registry import LIMITS
from tools.decoding import waiting
from tools.decoding.frame import BusyError
from tools.decoding.video import Video, open_video
from tools.errors import ToolError
from tools.following.target import target_box, target_mask
from tools.following.tracker import FIND, KEEP, AppearanceTracker, Presence, Sighting, presences
from tools.marks.drawing import draw
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import call
from tools.scene import Scene

MARK_S = 2.0
CORNER = walk.place(MARK_S)
assert CORNER is not None
BOX = (*CORNER, walk.SIDE, walk.SIDE)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return walk.write(tmp_path_factory.mktemp("walk") / "walk.mp4")


@pytest.fixture
def mark(tmp_path: Path) -> Callable[..., VisualPrompt]:
    def make(kind: str = "rectangle", known: bool = True) -> VisualPrompt:
        mask = np.zeros((walk.HEIGHT, walk.WIDTH), bool)
        x, y = round(BOX[0]), round(BOX[1])
        mask[y : y + walk.SIDE, x : x + walk.SIDE] = True
        marked, geometry = draw(walk.picture(MARK_S), kind, mask=mask)
        path = str(tmp_path / f"{kind}.png")
        Image.fromarray(marked).save(path)
        return VisualPrompt(path, MARK_S, kind, geometry if known else None)

    return make


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_the_target_s_box_is_read_off_every_kind_of_mark(mark: Callable[..., VisualPrompt], kind: str) -> None:
    box = target_box(mark(kind), walk.picture(MARK_S))
    # An arrow or a point tells where, not how large.
    assert walk.overlap(box, MARK_S) > (0.15 if kind in ("arrow", "point") else 0.4)


@pytest.mark.parametrize("kind", ["rectangle", "mask_contour", "ellipse", "scribble", "set_of_mark", "point"])
def test_a_mark_of_unknown_geometry_is_found_by_its_ink(mark: Callable[..., VisualPrompt], kind: str) -> None:
    box = target_box(mark(kind, known=False), walk.picture(MARK_S))
    assert walk.overlap(box, MARK_S) > (0.03 if kind == "point" else 0.25)


def test_an_image_without_a_mark_is_told(tmp_path: Path) -> None:
    Image.fromarray(walk.picture(MARK_S)).save(tmp_path / "bare.png")
    with pytest.raises(ToolError, match="nothing is marked"):
        target_box(VisualPrompt(str(tmp_path / "bare.png"), MARK_S), walk.picture(MARK_S))


def test_a_mask_is_cut_out_of_a_loose_box() -> None:
    x, y, w, h = BOX
    mask = target_mask(walk.picture(MARK_S), (x - 6, y - 6, w + 12, h + 12))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert abs(columns[0] - x) <= 2
    assert abs(columns[-1] + 1 - x - w) <= 2
    assert abs(rows[0] - y) <= 2
    assert abs(rows[-1] + 1 - y - h) <= 2


@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "point", "arrow", "set_of_mark"])
def test_a_target_is_followed_lost_and_found_again(film: str, mark: Callable[..., VisualPrompt], kind: str) -> None:
    looks = AppearanceTracker().follow(open_video(film), mark(kind), [2 + i / 6 for i in range(60)], 30.0)
    for look in looks:
        away = walk.place(look.time_s) is None
        assert (look.box is None) == away, look
    inside = [walk.overlap(look.box, look.time_s) for look in looks if look.box]
    assert np.median(inside) > (0.2 if kind in ("point", "arrow") else 0.6)
    assert all(look.likeness >= KEEP for look in looks if look.box)


def test_a_target_is_followed_backwards(film: str, mark: Callable[..., VisualPrompt]) -> None:
    looks = AppearanceTracker().follow(open_video(film), mark(), [2 - i / 6 for i in range(1, 12)], 30.0)
    assert all(look.box and walk.overlap(look.box, look.time_s) > 0.5 for look in looks)


def test_every_look_anywhere_stands_for_itself(film: str, mark: Callable[..., VisualPrompt]) -> None:
    looks = AppearanceTracker().find(open_video(film), mark(), [0.5, 6.0, 9.0, 1.0], 30.0)
    assert [look.box is not None for look in looks] == [True, False, True, True]
    assert looks[1].likeness < FIND


def test_stretches_in_sight_bridge_short_gaps() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    looks = [Sighting(t, box if seen else None, 0.75) for t, seen in [(0, 1), (1, 1), (2, 0), (3, 1), (6, 1), (7, 0)]]
    assert presences(looks, 2.0) == [Presence(0, 3, 0.75), Presence(6, 6, 0.75)]
    assert presences(looks, 1.0) == [Presence(0, 1, 0.75), Presence(3, 3, 0.75), Presence(6, 6, 0.75)]
    assert presences([Sighting(1.0, None, 0.1)], 1.0) == []


class Occupied:
    """A tracker that others keep busy for a while before each stretch, by a clock of the test's."""

    def __init__(self, wait_s: float) -> None:
        self.now, self.wait_s = 0.0, wait_s
        self.given: list[float] = []

    def follow(self, video: Video, prompt: VisualPrompt, times: Sequence[float], timeout_s: float) -> list[Sighting]:
        self.given.append(timeout_s)
        with waiting.waiting(1e9) as at_most_s:
            if at_most_s < self.wait_s:
                raise BusyError("the tracker was busy")
            self.now += self.wait_s
        self.now += 1.0
        return [Sighting(time_s, None, 0.0) for time_s in times]


@pytest.mark.parametrize("wait_s", [14.0, 16.0])
def test_following_waits_on_one_allowance_and_not_on_its_own_time(
    film: str, mark: Callable[..., VisualPrompt], monkeypatch: pytest.MonkeyPatch, wait_s: float
) -> None:
    tracker, limits = Occupied(wait_s), replace(LIMITS, timeout_s=30.0)
    scene, arguments = Scene(film, (mark(),), tracker=tracker), {"start_time": 1.0, "end_time": 3.0}
    open_video(film)
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: tracker.now))
    if wait_s > limits.timeout_s / 2:
        with pytest.raises(BusyError):
            call("track_instance", arguments, ["track_instance"], scene, limits)
    else:
        call("track_instance", arguments, ["track_instance"], scene, limits)
    assert tracker.given == [30.0, 29.0], "what it waited for the first part is not missing for the second"
