"""Saves that are complete come back to the bit; all others are noticed."""

import hashlib
import json
import shutil
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.errors import InputError, RunError
from jaxgan.runs import checkpoint
from jaxgan.runs.checkpoint import Checkpoints, Damaged, flatten, sha256, unflatten


class Moments(NamedTuple):
    mean: jax.Array
    count: jax.Array


def tree(seed=0):
    key = jax.random.key(seed)
    params = {"net": {"w": jax.random.normal(key, (3, 4)), "b": jnp.zeros(4, jnp.bfloat16)}}
    return {
        "key": key,
        "params": params,
        "opt": optax.adam(1e-3).init(params),
        "memory": [Moments(jnp.float32(jnp.nan), jnp.int32(-7)), jnp.array([True, False]), jnp.zeros((0, 2))],
        "empty": {},
    }


def assert_same(a, b):
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x  # noqa: E731
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(data(x)).tobytes() == np.asarray(data(y)).tobytes()


def fail(line):
    raise AssertionError(line)


@pytest.mark.device
def test_round_trip_to_the_bit(tmp_path):
    saves = Checkpoints(tmp_path / "c")
    saves.save(3, tree())
    saves.wait()
    step, table = saves.newest(fail)
    assert step == 3
    assert_same(unflatten(jax.eval_shape(tree), table), tree())
    assert sha256(table) == sha256(flatten(tree())) != sha256(flatten(tree(1)))


def test_digest_is_what_the_documentation_says():
    digest = hashlib.sha256()
    digest.update(b"a/0\nint32\n[2]\n" + np.array([1, 2], np.int32).tobytes())
    digest.update(b"b\nfloat32\n[]\n" + np.float32(0.5).tobytes())
    assert sha256(flatten({"b": jnp.float32(0.5), "a": [jnp.array([1, 2], jnp.int32)]})) == digest.hexdigest()


def test_a_save_is_of_the_moment_it_was_asked_for(tmp_path):
    """The arrays saved may be donated to the next step at once."""
    saves = Checkpoints(tmp_path / "c")
    x = jnp.arange(1 << 18, dtype=jnp.float32)
    saves.save(1, {"x": x})
    x = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(x)
    saves.wait()
    np.testing.assert_array_equal(saves.read(1)["x"], np.arange(1 << 18, dtype=np.float32))


def test_the_newest_and_every_nth_are_kept(tmp_path):
    saves = Checkpoints(tmp_path / "c", keep=2, keep_every=10)
    for step in range(5, 41, 5):
        saves.save(step, {"x": jnp.int32(step)})
    saves.wait()
    assert saves.steps() == [10, 20, 30, 35, 40]
    assert sorted(int(p.name) for p in (tmp_path / "c").iterdir()) == [10, 20, 30, 35, 40]


def biggest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(folder):
    file = biggest(folder)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(folder):
    file = biggest(folder)
    file.write_bytes(file.read_bytes()[:-1])


def remove_one(folder):
    biggest(folder).unlink()


def unfinished(folder):
    (folder / "sha256.json").unlink()


def half_digest(folder):
    digest = folder / "sha256.json"
    digest.write_text(digest.read_text()[:20])


DAMAGES = [flip, truncate, remove_one, unfinished, half_digest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_the_one_before_is_used(tmp_path, damage):
    saves = Checkpoints(tmp_path / "c")
    for step in (1, 2):
        saves.save(step, {"x": jnp.full((1000,), step)})
    saves.wait()
    damage(tmp_path / "c" / "2")
    said = []
    step, table = saves.newest(said.append)
    assert (step, table["x"][0], len(said)) == (1, 1, 1)
    assert str(tmp_path / "c" / "2") in said[0]
    saves.forget_after(1)
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["1"]
    saves.save(2, {"x": jnp.full((1000,), 3)})
    saves.wait()
    assert saves.newest(fail)[1]["x"][0] == 3


def test_every_byte_is_watched(tmp_path):
    """A flip anywhere in any file is noticed, metadata included."""
    saves = Checkpoints(tmp_path / "c")
    saves.save(1, {"x": jnp.arange(5)})
    saves.wait()
    listed = json.loads((tmp_path / "c" / "1" / "sha256.json").read_text())
    files = {p for p in (tmp_path / "c" / "1").rglob("*") if p.is_file() and p.name != "sha256.json"}
    assert {tmp_path / "c" / "1" / name for name in listed} == files
    for file in files:
        good = file.read_bytes()
        for at in {0, len(good) // 2, len(good) - 1}:
            if good:
                file.write_bytes(good[:at] + bytes([good[at] ^ 128]) + good[at + 1 :])
                with pytest.raises(InputError, match=r"every checkpoint in .*/c is damaged"):
                    saves.newest(lambda line: None)
        file.write_bytes(good)
    assert saves.newest(fail) is not None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"x": jnp.zeros(3)}, "y is on one side"),
        ({"x": jnp.zeros(3), "y": jnp.zeros(3, jnp.int32)}, "y is float32"),
        ({"x": jnp.zeros(3), "y": jnp.zeros((3, 1))}, r"\[3\]"),
    ],
)
def test_a_state_of_another_shape_is_refused(other, message):
    with pytest.raises(InputError, match=message):
        unflatten(other, flatten({"x": jnp.zeros(3), "y": jnp.zeros(3)}))


def test_no_folder_is_no_checkpoint(tmp_path):
    saves = Checkpoints(tmp_path / "none")
    assert saves.newest(fail) is None
    assert saves.steps() == []
    assert not (tmp_path / "none").exists()


def test_only_unfinished_saves_are_no_checkpoint(tmp_path):
    saves = Checkpoints(tmp_path / "c")
    saves.save(1, {"x": jnp.arange(5)})
    saves.wait()
    unfinished(tmp_path / "c" / "1")
    said = []
    assert saves.newest(said.append) is None
    assert len(said) == 1


# What a stranger, or another program, may have put there


def saved(folder, *steps):
    saves = Checkpoints(folder)
    for step in steps:
        saves.save(step, {"x": jnp.full((1000,), step)})
    saves.wait()
    return saves


def unlisted_flip(folder):
    flip(folder)
    (folder / "sha256.json").write_text("{}")


def one_unlisted(folder):
    digests = folder / "sha256.json"
    listed = json.loads(digests.read_text())
    file = folder / next(name for name in listed if (folder / name).stat().st_size)
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    del listed[str(file.relative_to(folder))]
    digests.write_text(json.dumps(listed))


def one_more(folder):
    (folder / "d" / "more").write_text("x")


def linked_part(folder):
    part = folder / "d"
    part.rename(folder.parent / "moved")
    part.symlink_to(folder.parent / "moved")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (unlisted_flip, "is not listed in sha256.json"),
        (one_unlisted, "is not listed in sha256.json"),
        (one_more, "d/more is not listed in sha256.json"),
        (linked_part, "d is not listed in sha256.json"),
        (
            lambda folder: (folder / "sha256.json").write_text("[]"),
            "sha256.json cannot be read (Input should be",
        ),
        (
            lambda folder: (folder / "sha256.json").write_text('{"a": 1}'),
            "sha256.json cannot be read (a: Input should",
        ),
        (
            lambda folder: (folder / "sha256.json").write_text('{"a": "b"}'),
            "sha256.json cannot be read (a: String should",
        ),
        (lambda folder: (folder / "sha256.json").write_text("[" * 100_000), "nested more than 64 deep"),
        (lambda folder: (folder / "sha256.json").write_bytes(b"\xff"), "byte 0 is not UTF-8"),
    ],
)
def test_what_the_digests_do_not_cover_counts_as_damaged(tmp_path, damage, why):
    saves = saved(tmp_path / "c", 1, 2)
    damage(tmp_path / "c" / "2")
    said = []
    step, table = saves.newest(said.append)
    assert (step, table["x"][0]) == (1, 1)
    (line,) = said
    assert why in line
    assert "\n" not in line


@pytest.mark.parametrize("name", [".DS_Store", "d/._manifest", ".nfs0000000000000001"])
def test_what_systems_leave_in_any_folder_damages_no_save(tmp_path, name):
    """It is no part of the save, and goes with it; what is listed is checked whatever it is called."""
    folder = tmp_path / "c"
    saves = saved(folder, 1, 2)
    (folder / "2" / name).write_bytes(b"Bud1")
    assert saves.newest(fail)[0] == 2
    saves.forget_after(2)
    assert saves.steps() == [1, 2]
    digests = folder / "2" / "sha256.json"
    listed = json.loads(digests.read_text())
    digests.write_text(json.dumps({**listed, name: hashlib.sha256(b"Bud1").hexdigest()}))
    assert saves.newest(fail)[0] == 2
    (folder / "2" / name).write_bytes(b"Bud2")
    with pytest.raises(Damaged, match=r"has changed since it was written"):
        saves.read(2)
    saves.forget_after(1)
    assert [p.name for p in folder.iterdir()] == ["1"]


def test_what_systems_leave_while_a_save_is_written_is_not_listed(tmp_path, monkeypatch):
    """Such a file may go or change at any time."""
    reserve = Checkpoints._reserve

    def littered(self, size, place):
        reserve(self, size, place)
        orbax = checkpoint._checkpointer()
        save = lambda path, *rest, **how: (orbax.save(path, *rest, **how), (path / ".DS_Store").touch())  # noqa: E731
        monkeypatch.setattr(checkpoint, "_checkpointer", lambda: SimpleNamespace(save=save))

    monkeypatch.setattr(Checkpoints, "_reserve", littered)
    saves = saved(tmp_path / "c", 1)
    monkeypatch.undo()
    (tmp_path / "c" / "1" / ".DS_Store").unlink()
    assert saves.newest(fail)[0] == 1


def test_nothing_is_listed_that_lies_outside(tmp_path):
    saves = saved(tmp_path / "c", 1)
    (tmp_path / "outside").write_text("x")
    digests = tmp_path / "c" / "1" / "sha256.json"
    listed = json.loads(digests.read_text())
    listed["../../outside"] = hashlib.sha256(b"x").hexdigest()
    digests.write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"every checkpoint in .*/c is damaged"):
        saves.newest(lambda line: None)


@pytest.fixture
def scratch(tmp_path):
    """A folder of other things, among them what looks like a checkpoint; and a link to it, as a run may have."""
    folder = tmp_path / "scratch"
    for name in ("2024", "3", "007", "999999999999999"):
        (folder / name).mkdir(parents=True)
        (folder / name / "photo.jpg").write_text(name)
    (folder / "4").mkdir()
    (folder / "4" / "_CHECKPOINT_METADATA").write_text("of another program that saves by Orbax")
    (folder / "5.orbax-checkpoint-tmp-7").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(folder)
    return folder


def test_a_folder_shared_with_other_things_keeps_them(tmp_path, scratch):
    place = tmp_path / "run" / "checkpoints"
    others = {p.name for p in scratch.iterdir()}
    photos = {str(p): p.read_text() for p in scratch.rglob("photo.jpg")}
    saves = Checkpoints(place, keep=2)
    for step in (10, 20, 30):
        saves.save(step, {"x": jnp.int32(step)})
    saves.wait()
    assert saves.steps() == [20, 30]
    assert {p.name for p in scratch.iterdir()} == {*others, "20", "30"}
    assert saves.newest(fail)[0] == 30
    flip(scratch / "30")
    assert saves.newest(lambda line: None)[0] == 20
    saves.forget_after(20)
    assert {p.name for p in scratch.iterdir()} == {*others, "20"}
    saves.forget_others(5)
    assert {p.name for p in scratch.iterdir()} == others
    assert {str(p): p.read_text() for p in scratch.rglob("photo.jpg")} == photos
    assert (scratch / "4" / "_CHECKPOINT_METADATA").read_text().startswith("of another program")


def test_a_save_where_something_else_is_fails_and_leaves_it(tmp_path, scratch):
    saves = Checkpoints(tmp_path / "run" / "checkpoints")
    saves.save(3, {"x": jnp.int32(3)})
    with pytest.raises(
        RunError, match=r"cannot save a checkpoint to .*/3: .*; what is there is no checkpoint, so move it"
    ):
        saves.wait()
    assert (scratch / "3" / "photo.jpg").read_text() == "3"
    assert not list(scratch.glob(".saving*"))


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_shared_folder_keeps_what_is_called_as_saves_under_way_are(tmp_path, scratch, kind):
    """Saving is refused at once where the user's own is in the way, and goes on once that is moved."""
    saves, place = Checkpoints(tmp_path / "run" / "checkpoints"), scratch / ".saving"
    mine = scratch / ".saving-old" / "mine"
    mine.parent.mkdir()
    (scratch / ".saving-7").mkdir()
    for file in (mine, scratch / ".saving-7" / "mine"):
        file.write_text("mine")
    if kind == "folder":
        place.mkdir()
        (place / "mine").write_text("mine")
    elif kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(mine.parent)
    before = {str(p): p.is_file() and p.read_text() for p in scratch.rglob("*")}
    with pytest.raises(InputError, match=r"\.saving was not made by jaxgan, .*; move it"):
        saves.refuse_strange()
    saves.save(10, {"x": jnp.int32(1)})
    with pytest.raises(
        RunError, match=r"cannot save a checkpoint to .*/10: .*\.saving was not made by jaxgan"
    ):
        saves.wait()
    assert {str(p): p.is_file() and p.read_text() for p in scratch.rglob("*")} == before
    place.rename(tmp_path / "moved")
    saves.refuse_strange()
    saves.save(10, {"x": jnp.int32(1)})
    saves.wait()
    assert saves.newest(fail)[0] == 10
    assert mine.read_text() == (scratch / ".saving-7" / "mine").read_text() == "mine"
    assert not place.exists()


@pytest.mark.parametrize("shared", [False, True])
def test_what_a_save_or_removal_that_was_killed_leaves_goes_with_the_next(tmp_path, scratch, shared):
    place = tmp_path / "run" / "checkpoints" if shared else tmp_path / "c"
    saves = saved(place, 10)
    names = {p.name for p in place.iterdir()}
    (place / "10").rename(place / ".saving-10")  # half removed: its digests are left
    shutil.rmtree(place / ".saving-10" / "d")
    (place / ".saving" / "11").mkdir(parents=True)  # half made
    for name in ("made-by-jaxgan", "room", "11/part"):
        (place / ".saving" / name).touch()
    saves.refuse_strange()
    saved(place, 10)
    assert {p.name for p in place.iterdir()} == names


def test_a_save_that_is_called_by_another_step_counts_as_damaged(tmp_path):
    """It would be read first, and removed as one of a later step."""
    saves = Checkpoints(tmp_path / "c")
    for step in (1, 2):
        saves.save(step, {"step": jnp.int32(step)})
    saves.wait()
    (tmp_path / "c" / "2").rename(tmp_path / "c" / "7")
    said = []
    step, table = saves.newest(said.append)
    assert (step, int(table["step"])) == (1, 1)
    assert len(said) == 1
    assert said[0].endswith("7 is left out: its state is of another step than its name says")
    with pytest.raises(Damaged, match="of another step"):
        saves.read(7)


@pytest.mark.parametrize("name", [".saving", ".saving-1", ".room", "1"])
def test_nothing_is_written_or_deleted_through_a_link_in_the_folder(tmp_path, name):
    outside, place = tmp_path / "outside", tmp_path / "c"
    outside.mkdir()
    place.mkdir()
    (outside / "file").write_text("private")
    (place / name).symlink_to(outside / "file" if name == ".room" else outside)
    saves = Checkpoints(place)
    saves.save(1, {"x": jnp.int32(1)})
    try:
        saves.wait()
        assert saves.newest(fail)[0] == 1
    except RunError:
        assert name == "1"
    saves.forget_others(7)
    assert [(p.name, p.read_text()) for p in outside.iterdir()] == [("file", "private")]


def test_what_an_older_version_left_unfinished_is_replaced(tmp_path):
    saves = saved(tmp_path / "c", 1, 2)
    unfinished(tmp_path / "c" / "2")
    (tmp_path / "c" / "2.orbax-checkpoint-tmp-1").mkdir()
    saved(tmp_path / "c", 2)
    assert [p.name for p in sorted((tmp_path / "c").iterdir())] == ["1", "2"]
    assert saves.newest(fail)[0] == 2
