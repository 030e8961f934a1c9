"""constraints.txt, the versions that were tried, is what pyproject.toml admits and what the Makefile installs."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_rooms import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WANTED = [*PROJECT["dependencies"], *EXTRAS["cpu"], *EXTRAS["dev"]]


def tried() -> dict[str, str]:
    """Version by name of the package."""
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#")
    return {canonicalize_name(name): version for name, version in pins}


@pytest.mark.parametrize("wanted", WANTED)
def test_the_version_that_was_tried_is_in_its_range(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(tried()[canonicalize_name(requirement.name)])


def test_the_file_holds_versions_of_any_index_alone() -> None:
    """No local build, path or address: pip takes it here, in a container and on a cluster alike."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[A-Za-z0-9.!]+", line)] == []


def test_the_makefile_installs_the_torch_that_was_tried() -> None:
    [version] = re.findall(r"^TORCH := torch==([\d.]+)\+cpu$", (ROOT / "Makefile").read_text(), re.M)
    assert version == tried()["torch"]
