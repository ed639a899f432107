"""The pool that carries the heartbeat over storage, as the configuration file names it."""

from pathlib import Path

import pytest

from app.bootstrap.cluster import build_heartbeat
from app.config import Config, ConfigError, load_config
from app.domain.storage_heartbeat import Beat

POOL = '[[pools]]\nname = "{name}"\ndriver = "file"\nshared = true\nheartbeat = true\noptions = {{ path = "{path}" }}\n'


def _config(tmp_path: Path, text: str) -> Config:
    (tmp_path / "holdfast.toml").write_text(text)
    return load_config(tmp_path / "holdfast.toml")


def test_without_a_pool_that_carries_it_there_is_none(tmp_path: Path) -> None:
    config = _config(tmp_path, POOL.format(name="a", path=tmp_path).replace("heartbeat = true\n", ""))
    assert build_heartbeat(config) is None
    assert config.coordinator_settings.heartbeat is None
    assert config.node_agent_settings.heartbeat is None


def test_the_pool_that_carries_it(tmp_path: Path) -> None:
    config = _config(tmp_path, POOL.format(name="a", path=tmp_path))
    assert config.coordinator_settings.heartbeat == config.node_agent_settings.heartbeat
    assert config.coordinator_settings.heartbeat is not None
    (tmp_path / "images").mkdir()
    heartbeat = build_heartbeat(config)
    assert heartbeat is not None
    heartbeat.write_beat(Beat("localhost", "boot-1", 1, quorate=True))
    assert (tmp_path / "heartbeat" / "localhost.beat").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("shared = true\n", ""), "must be shared = true"),
        (('options = {{ path = "{path}" }}\n', ""), "must be shared = true and have a directory"),
        (("heartbeat = true\n", 'heartbeat = "yes, please"\n'), "pools.0.heartbeat"),
    ],
)
def test_a_pool_that_cannot_carry_it_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _config(tmp_path, POOL.replace(*change).format(name="a", path=tmp_path))


def test_two_pools_cannot(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two"):
        _config(tmp_path, "".join(POOL.format(name=name, path=tmp_path) for name in ("a", "b")))


def test_figures_that_contradict_the_watchdog_are_refused_with_it_too(tmp_path: Path) -> None:
    text = '[watchdog]\npath = "/dev/watchdog"\ntimeout_seconds = 4\n' + POOL.format(name="a", path=tmp_path)
    with pytest.raises(ConfigError, match="self_fence_seconds"):
        _config(tmp_path, text)
