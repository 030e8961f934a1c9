"""The page of every setting is that of the settings there are."""

from pathlib import Path

import pytest

from configs.reference import reference, sections, settings_of

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "run `python -m configs.reference > docs/config.md`"


@pytest.mark.parametrize("kind", sections(), ids=lambda kind: kind.__name__)
def test_every_setting_says_what_it_is(kind: type) -> None:
    assert [setting.name for setting in settings_of(kind) if not setting.meaning] == []
