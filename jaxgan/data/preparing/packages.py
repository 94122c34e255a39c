"""Files out of published packages, that pip and npm download or that are there already; nothing in them is run.

For example:

    >>> package = Package("npm", "openmoji", "17.0.0")
    >>> " ".join(package.command("FOLDER"))
    'npm pack openmoji@17.0.0 --ignore-scripts --pack-destination FOLDER'
    >>> Path("node_modules/openmoji").mkdir(parents=True)
    >>> _ = Path("node_modules/openmoji/LICENSE.txt").write_text("CC BY-SA 4.0")
    >>> read(package, Path("node_modules"), lambda path: path.endswith(".txt"))
    {'LICENSE.txt': b'CC BY-SA 4.0'}
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from jaxgan.data.files import irregular
from jaxgan.errors import InputError

_SECONDS = 900


class Package(NamedTuple):
    """A package of a registry."""

    client: Literal["pip", "npm"]
    name: str
    version: str

    def command(self, folder: str) -> list[str]:
        """What downloads its archive into a folder, for a user to type."""
        if self.client == "pip":
            options = ["--no-deps", "--only-binary", ":all:", "--dest", folder]
            return ["pip", "download", *options, f"{self.name}=={self.version}"]
        return [
            "npm",
            "pack",
            f"{self.name}@{self.version}",
            "--ignore-scripts",
            "--pack-destination",
            folder,
        ]

    @property
    def archives(self) -> str:
        """The names of its archives, with a star."""
        return f"{self.name.replace('-', '_')}-*.whl" if self.client == "pip" else f"{self.name}-*.tgz"


def read(
    package: Package, place: Path | None, wanted: Callable[[str], bool], option: str = "--from"
) -> dict[str, bytes]:
    """Files of a package, by their paths in it.

    Args:
      package: Which.
      place: Its archive, the folder of its archive, or a folder where it is unpacked, node_modules and site-packages
        among them; None to download it.
      wanted: Which paths to take, such as "img/64/a.png".
      option: Of the command line, by which users give a place.

    Raises:
      InputError: Where it cannot be downloaded, is not there or cannot be read, or has none of these files.
    """
    if place is None:
        with tempfile.TemporaryDirectory(prefix="jaxgan-") as folder:
            _download(package, folder, option)
            return read(package, Path(folder), wanted, option)
    found = {}
    where = place
    if place.is_file():
        found = _of_archive(place, wanted)
    elif place.is_dir():
        archives = sorted(place.glob(package.archives))
        if len(archives) > 1:
            raise InputError(f"{place}: holds {archives[0].name} and {archives[1].name}; name one of them")
        if archives:
            where = archives[0]
            found = _of_archive(where, wanted)
        else:
            below = (place / package.name, place / "package", place)
            found = next(filter(None, (_of_folder(folder, wanted) for folder in below)), {})
    else:
        raise InputError(f"{place}: no such file or folder; {_advice(package, option)}")
    if not found:
        raise InputError(f"{where}: holds none of the files of {package.name}; {_advice(package, option)}")
    return found


def _advice(package: Package, option: str) -> str:
    return f"get it by `{' '.join(package.command('FOLDER'))}` and name that with {option} FOLDER"


def _download(package: Package, folder: str, option: str) -> None:
    command = package.command(folder)
    if package.client == "pip":
        command = [sys.executable, "-m", *command, "--disable-pip-version-check", "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except FileNotFoundError:
        why = f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        why = f"{package.client} took longer than {_SECONDS} s"
    else:
        if not done.returncode:
            return
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() or "No module" in line]
        why = next(iter(errors or lines), f"{package.client} ended with {done.returncode}")[:200]
    raise InputError(
        f"{package.name} could not be downloaded ({why}); on a machine with a network {_advice(package, option)}"
    )


def _of_folder(folder: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found = {}
    for top, _, files in os.walk(folder):
        for file in files:
            path = Path(top, file)
            name = path.relative_to(folder).as_posix()
            if wanted(name):
                if kind := irregular(path):
                    raise InputError(f"{path}: is {kind}, and no file of a package; mend that")
                try:
                    found[name] = path.read_bytes()
                except OSError as error:
                    raise InputError(f"{path}: cannot be read ({error.strerror}); mend that") from error
    return found


def _of_archive(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found = {}
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return {name: opened.read(name) for name in opened.namelist() if wanted(name)}
        with tarfile.open(archive) as opened:
            for member in opened:  # in order: compressed archives cannot be read any other way
                name = member.name.partition("/")[2]  # npm packs all below "package"
                file = opened.extractfile(member) if member.isfile() and wanted(name) else None
                if file is not None:
                    found[name] = file.read()
    except Exception as error:  # damaged archives raise nearly anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive}: cannot be read as an archive ({why}); download it again") from error
    return found
