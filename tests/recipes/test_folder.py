import subprocess
import sys
from pathlib import Path

import pytest

from configs import Config, load_config
from recipes.folder import ARMS, RunFolder, RunFolderError, alone, arm_of, with_arm


def test_an_arm_is_named_after_the_tools_on_offer() -> None:
    for arm in ARMS:
        assert arm_of(with_arm(Config(), arm)) == arm
    other = Config()
    other.episode.tools = ["zoom", "crop_video"]
    assert arm_of(other) == "crop_video+zoom"


def test_arms_share_a_run_s_data_and_have_folders_of_their_own(tmp_path: Path) -> None:
    config = Config(name="x", runs_dir=str(tmp_path))
    folders = [RunFolder.of(with_arm(config, arm)) for arm in ARMS]
    assert len({folder.arm for folder in folders}) == len(ARMS)
    assert len({folder.train for folder in folders}) == 1


def test_an_arm_s_config_brings_its_tools_back(tmp_path: Path) -> None:
    config = Config(name="x", runs_dir=str(tmp_path))
    for arm in ARMS:
        folder = RunFolder.of(with_arm(config, arm))
        assert arm_of(load_config(folder.arm / "config.yaml")) == arm


def test_data_may_lie_elsewhere(tmp_path: Path) -> None:
    config = Config(name="x", runs_dir=str(tmp_path), data_dir=str(tmp_path / "mine"))
    assert RunFolder.of(config).test == tmp_path / "mine" / "test.jsonl"


@pytest.mark.process
def test_two_commands_do_not_work_on_one_run(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from recipes.folder import alone
with alone(Path({str(tmp_path / "run")!r})):
    print("in", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(RunFolderError, match="another command is at work on it"), alone(tmp_path / "run"):
            pass
        with alone(tmp_path / "another"):
            pass
    finally:
        other.kill()
        other.wait()
    with alone(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = load_config(None, [f"runs_dir={tmp_path / 'file'}"])
    with pytest.raises(RunFolderError, match="cannot be written to"):
        RunFolder.of(config)
    with pytest.raises(RunFolderError, match="cannot be written to"), alone(RunFolder.of(config, make=False).root):
        pass
