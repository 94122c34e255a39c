"""Disks that are full: one line, exit 1, what was there before stays, and nothing half made is left."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import files_up_to

from jaxgan import theory
from jaxgan.cli import commands, main
from jaxgan.domains import Image as Images
from jaxgan.domains import Numbers, Shown
from jaxgan.errors import InputError, RunError, full, placing, replacing, writing
from jaxgan.plots import curves


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_preparing(tmp_path: Path, capfd: pytest.CaptureFixture[str], rng: np.random.Generator) -> None:
    """The library that writes the examples has errors of its own kind."""
    for i in range(8):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "place").mkdir()
    out = tmp_path / "place" / "out"
    command = ["prepare", str(tmp_path / "images"), "--out", str(out)]
    with files_up_to(5_000):
        assert main(command) == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line == f"jaxgan: error: cannot write {out}: File too large; free space there and run again"
    assert list((tmp_path / "place").iterdir()) == []
    assert main(command) == 0


ROWS = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]
SHOWN = Shown(np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8))
LINE = np.linspace(-1, 1, 8)
MOMENT = theory.Moment(1, LINE, np.full(8, 0.5), np.full(8, 0.4), np.zeros(8))


@pytest.mark.parametrize(
    ("write", "ending"),
    [
        (lambda out: Images().write(SHOWN, out), ".png"),
        (lambda out: Images().save(SHOWN.made[0], out), ".png"),
        (lambda out: Numbers().write(Shown(SHOWN.made[:, 0, :, 0].astype(np.float32)), out), ".png"),
        (
            lambda out: curves(ROWS, out, "run", {"": ["loss"]}),
            ".png",
        ),
        (lambda out: theory.animation([MOMENT] * 2, out), ".gif"),
    ],
    ids=["sheet", "image", "numbers", "curves", "animation"],
)
def test_each_writer(tmp_path: Path, write: Callable[[Path], None], ending: str) -> None:
    out = tmp_path / f"picture{ending}"
    write(out)
    before = contents(tmp_path)
    with (
        files_up_to(len(before[out.name]) // 2),
        pytest.raises(RunError, match=f"cannot write {out}: File too"),
    ):
        write(out)
    assert contents(tmp_path) == before


def test_whatever_ends_the_writing_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def write(path: Path, error: BaseException | None) -> None:
        with replacing(path) as partial:
            partial.write_text("new")
            if error:
                raise error

    for error in (KeyboardInterrupt(), ValueError("a fault"), InputError("a mistake")):
        with pytest.raises(type(error)):
            write(file, error)
        assert contents(tmp_path) == {"file": b"old"}
    with pytest.raises(RunError, match="broken; mend that"):
        write(file, OSError(errno.EIO, "broken"))
    with pytest.raises(RunError, match="Is a directory"):
        write(tmp_path, None)
    assert contents(tmp_path) == {"file": b"old"}
    assert not list(tmp_path.parent.glob(".*.partial"))


@pytest.mark.parametrize("name", ["a" * 255, "\N{SNOWMAN}" * 85, "a" * 129, "a" * 128])
def test_a_name_as_long_as_any_may_be_is_replaced(tmp_path: Path, name: str) -> None:
    other = tmp_path / f"{name[:-1]}b"
    with replacing(tmp_path / name) as partial, replacing(other) as another:
        partial.write_text("one")
        another.write_text("two")
    assert contents(tmp_path) == {name: b"one", other.name: b"two"}


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o664])
def test_what_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    file, usual = tmp_path / "file", tmp_path / "usual"
    for path in (file, usual):
        path.write_text("old")
    file.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(file)
    for path in (file, link, tmp_path / "new"):
        with replacing(path) as partial:
            partial.write_text("new")
    assert file.stat().st_mode & 0o777 == mode
    assert link.lstat().st_mode == (tmp_path / "new").stat().st_mode == usual.stat().st_mode


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / ".file.partial").mkdir()
    with (
        pytest.raises(RunError, match=r"cannot write .*/\.file\.partial: .*; mend that"),
        replacing(tmp_path / "file"),
    ):
        raise AssertionError("nothing is written")
    assert (tmp_path / ".file.partial").is_dir()


def test_a_full_disk_is_known_in_any_words() -> None:
    inside = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    said = RuntimeError("write() failed: No space left on device; writing x.array_record")
    outside = ValueError("can't close")
    outside.__context__ = inside
    assert full(inside) == full(said) == full(outside) == "No space left on device"
    assert full(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))) == "Disk quota exceeded"
    assert full(OSError(errno.EACCES, "Permission denied")) is None
    assert full(ValueError("no space")) is None
    with (
        pytest.raises(RunError, match="cannot write x: No space left on device; free space"),
        writing(Path("x")),
    ):
        raise said
    with pytest.raises(ValueError, match="a fault"), writing(Path("x")):
        raise ValueError("a fault")
    with pytest.raises(RunError, match="free space"), placing(Path("x")):
        raise inside
    with (
        pytest.raises(InputError, match="cannot write x: Permission denied; name another place"),
        placing(Path("x")),
    ):
        raise OSError(errno.EACCES, "Permission denied")


def test_what_nobody_foresaw_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a folder for temporary files that cannot be copied to."""

    def fail(options: object) -> int:
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])

    monkeypatch.setitem(commands.COMMANDS, "inspect", fail)
    assert main(["inspect", "run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxgan: error: cannot write ")
    assert "No space left on device" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_is_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed, too."""

    def speak(options: object) -> int:
        print("a table")
        return 0

    monkeypatch.setitem(commands.COMMANDS, "inspect", speak)
    with monkeypatch.context() as patch, open("/dev/full", "w", buffering=1 << 16) as nowhere:
        patch.setattr(sys, "stdout", nowhere)
        assert main(["inspect", "run"]) == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), nowhere.fileno())  # closing it writes once more
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "jaxgan: error: cannot write the output, or temporary files: No space left on device;"
    )


def test_an_output_that_nobody_reads() -> None:
    """As of `jaxgan inspect RUN | head -1`: no traceback, and the code of SIGPIPE."""
    code = (
        "import sys; from jaxgan.cli import commands as c; c.COMMANDS['inspect'] = lambda _: print('a') or 0;"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code} sys.stdin.read(); sys.exit(c.main(['inspect', 'run']))"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate("go")
    assert (process.returncode, err) == (141, "")


TINY_DISK = """
mount -t tmpfs -o size=100k,nr_inodes=12 tmpfs "$1" || exit 77
"$0" -m jaxgan prepare "$2" --out "$1/out" && exit 78
ls -A "$1"
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do touch "$1/full$i" 2> /dev/null; done
"$0" -m jaxgan prepare "$2" --out "$1/out" && exit 79
"$0" -m jaxgan train --quiet --run-dir "$1/run" && exit 81
rm "$1/full1" "$1/full2"
"$0" -m jaxgan prepare "$2" --out "$1/out" && exit 80
rm "$1"/full*
ls -A "$1"
exit 1
"""


@pytest.mark.slow
def test_a_disk_without_bytes_and_one_without_names(tmp_path: Path, rng: np.random.Generator) -> None:
    """A file system of 100 KB and 12 files, of a name space of its own."""
    for name in ("disk", "images"):
        (tmp_path / name).mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        TINY_DISK,
        sys.executable,
        tmp_path / "disk",
        tmp_path / "images",
    ]
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 1:
        assert done.returncode not in (78, 79, 80, 81), done.stderr
        pytest.skip("no file system can be mounted here")
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("jaxgan: error: cannot write ") for line in lines)
    assert all("No space left on device; free space there" in line for line in lines)
    assert done.stdout == ""  # nothing is left
