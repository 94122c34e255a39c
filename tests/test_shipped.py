"""Files of numbers in the package: each has its digest, and a damaged one ends in a line that names it."""

import hashlib
import shutil
from pathlib import Path

import pytest

from jaxgan import shipped
from jaxgan.cli import main
from jaxgan.data import Embedded
from jaxgan.data.sources import fashion
from jaxgan.errors import RunError
from jaxgan.networks import classifier

PLAIN = (".py", ".pyc", ".typed", ".toml")
"""Endings of code, and of configs, which are there to be changed."""


def test_every_file_of_numbers_has_its_digest() -> None:
    found = {
        path.relative_to(shipped.PACKAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shipped.PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in PLAIN and path.name != "LICENSE"
    }
    assert found == shipped.DIGESTS


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's files of numbers, which the program reads in their place."""
    for name in shipped.DIGESTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shipped.PACKAGE / name, tmp_path / name)
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path)
    fashion._embedded.cache_clear()
    yield tmp_path
    fashion._embedded.cache_clear()


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[:at])


def remove(path: Path, at: int) -> None:
    path.unlink()


@pytest.mark.parametrize(("harm", "at"), [(flip, -1), (flip, 900_000), (cut, 900_000), (cut, 0), (remove, 0)])
def test_a_damaged_file_is_named(damaged: Path, harm, at: int, capsys: pytest.CaptureFixture[str]) -> None:
    data, network = (damaged / name for name in shipped.DIGESTS)
    assert len(Embedded("test")) == 2000
    classifier.load()
    fashion._embedded.cache_clear()
    for path, load in ((data, lambda: len(Embedded("test"))), (network, classifier.load)):
        harm(path, at)
        with pytest.raises(RunError, match=rf"^{path} (is damaged|cannot be read).*; reinstall jaxgan"):
            load()
    run = damaged / "run"
    assert main(["train", "--steps", "1", "--run-dir", str(run), "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jaxgan: error: {data} ")
    assert not run.exists()


def test_a_published_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    shipped.check(file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "get another")
    with pytest.raises(
        RunError, match=r"weights\.pth is damaged: its SHA-256 begins with ba7816bf, .*; get another$"
    ):
        shipped.check(file, shipped.EFFICIENTNET, "get another")
