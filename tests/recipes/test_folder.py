from pathlib import Path

from configs import Config, load_config
from recipes.folder import ARMS, RunFolder, arm_of, with_arm


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
