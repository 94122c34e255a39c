"""Weights files: every format, damage, and pickles that would run code."""

import io
import pickle
import zipfile

import numpy as np
import peers
import pytest
from safetensors.numpy import save_file

from jaxgan.errors import InputError
from jaxgan.networks import weights

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


# A state_dict by hand, opcode by opcode as `pickletools` names them: so the format is read, not what we would write.


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()  # BINUNICODE


def integers(*values: int) -> bytes:
    return (
        b"(" + b"".join(b"J" + value.to_bytes(4, "little", signed=True) for value in values) + b"t"
    )  # TUPLE


def integer(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def tensor(shape=(2, 3), strides=(3, 1), offset=0, size=6, kind="FloatStorage") -> bytes:
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu") + integer(size)
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (storage + b"tQ")  # BINPERSID
        + integer(offset)
        + integers(*shape)
        + integers(*strides)
        + b"\x89ccollections\nOrderedDict\n)Rt"
        + b"R"  # REDUCE
    )


def state_dict(value: bytes, name: bytes | None = None) -> bytes:
    return b"\x80\x02}" + (name or text("w")) + value + b"s."


def zipped(pickled: bytes, data: bytes = ARRAY.tobytes(), byteorder: bytes = b"little"):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/byteorder", byteorder)
            archive.writestr("archive/data/0", data)

    return write


def stream(pickled: bytes, data: bytes = ARRAY.tobytes()):
    def write(path):
        parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        size = (len(data) // 4).to_bytes(8, "little")
        path.write_bytes(b"".join([*parts, pickled, pickle.dumps(["0"], 2), size, data]))

    return write


def npz(path):
    np.savez(path, w=ARRAY)


def safetensors(path):
    save_file({"w": ARRAY}, path)


WRITERS = {
    "w.npz": npz,
    "w.safetensors": safetensors,
    "zipped.pth": zipped(state_dict(tensor())),
    "stream.pt": stream(state_dict(tensor())),
}
EVERY_FORMAT = pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
BOTH_PICKLES = pytest.mark.parametrize("wrap", [zipped, stream])


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        weights.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@EVERY_FORMAT
def test_every_format_is_read(tmp_path, name, write):
    write(tmp_path / name)
    table = weights.read(str(tmp_path / name))
    assert list(table) == ["w"]
    assert (table["w"].dtype, table["w"].shape) == (np.float32, (2, 3))
    assert table["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@BOTH_PICKLES
def test_views_are_read_as_views(tmp_path, wrap):
    wrap(state_dict(tensor(shape=(2, 2), strides=(1, 3), offset=1)))(tmp_path / "w.pt")
    assert weights.read(tmp_path / "w.pt")["w"].tolist() == [[1, 4], [2, 5]]


@BOTH_PICKLES
def test_scalars_and_empty_arrays_are_read(tmp_path, wrap):
    wrap(state_dict(tensor(shape=(), strides=(), offset=4)))(tmp_path / "w.pt")
    assert weights.read(tmp_path / "w.pt")["w"] == 4
    wrap(state_dict(tensor(shape=(2, 0), strides=(1, 1))))(tmp_path / "w.pt")
    assert weights.read(tmp_path / "w.pt")["w"].shape == (2, 0)


@BOTH_PICKLES
@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1},
        {"offset": -1},
        {"strides": (4, 1)},
        {"strides": (-1, 1), "offset": 4},
        {"shape": (3, 3)},
        {"shape": (1000, 1000), "strides": (0, 0)},
        {"strides": (1,)},
        {"size": 7},
        {"kind": "DoubleStorage"},
    ],
    ids=str,
)
def test_tensors_stay_within_their_storage(tmp_path, wrap, wrong):
    wrap(state_dict(tensor(**wrong)))(tmp_path / "w.pt")
    assert "damaged" in refused(tmp_path / "w.pt")


@BOTH_PICKLES
@pytest.mark.parametrize(
    "pickled",
    [
        state_dict(b"}"),
        state_dict(text("torch")),
        state_dict(tensor(), integer(3)),
        b"\x80\x02].",
        state_dict(b"\x80\x02}" + text("w") + tensor() + b"s"),
    ],
    ids=["a dictionary", "a string", "a number for a name", "a list", "a nested state_dict"],
)
def test_what_is_no_state_dict_is_refused(tmp_path, wrap, pickled):
    wrap(pickled)(tmp_path / "w.pth")
    assert "state_dict" in refused(tmp_path / "w.pth")


def calls(path, function="os\nsystem", argument=None) -> bytes:
    return f"c{function}\n".encode() + b"(" + text(argument or f"touch '{path}'") + b"tR"


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    evil = state_dict(calls(marker))
    pickle.loads(evil)
    assert marker.exists()  # it would have run
    marker.unlink()
    for wrap in (zipped, stream):
        wrap(evil)(tmp_path / "w.pth")
        assert "would run os.system" in refused(tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(evil)
    assert "would run os.system" in refused(tmp_path / "w.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins\neval", "builtins\ngetattr", "torch\nload", "collections\nnamedtuple", "torch._utils\nos"],
)
def test_no_other_name_is_allowed(tmp_path, name):
    zipped(state_dict(calls("", name, "1")))(tmp_path / "w.pth")
    assert f"would run {name.replace(chr(10), '.')}" in refused(tmp_path / "w.pth")


def test_names_with_dots_reach_nothing_behind_an_allowed_one(tmp_path):
    # STACK_GLOBAL of protocol 4 takes attributes of attributes.
    inner = b"\x80\x04" + text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93."
    zipped(inner)(tmp_path / "w.pth")
    assert "would run collections.OrderedDict.__init__" in refused(tmp_path / "w.pth")


def test_object_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", w=np.array([{}], dtype=object))
    assert "allow_pickle" in refused(tmp_path / "w.npz")


@EVERY_FORMAT
def test_truncated_files_are_refused(tmp_path, name, write):
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        assert "damaged" in refused(path)


@pytest.mark.parametrize("name", ["zipped.pth", "stream.pt"])
def test_damage_ends_in_an_input_error_or_nowhere(tmp_path, rng, name):
    path = tmp_path / name
    WRITERS[name](path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    errors = 0
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged.tobytes())
        try:
            weights.read(path)
        except InputError:
            errors += 1
    assert errors > 50


def test_storages_of_big_endian_machines_are_refused(tmp_path):
    zipped(state_dict(tensor()), byteorder=b"big")(tmp_path / "w.pth")
    assert "big-endian" in refused(tmp_path / "w.pth")


def bomb(path, shape, data):
    """An archive of one array whose header tells of a shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", header.getvalue() + data)
    return path


def test_arrays_that_say_to_be_larger_than_they_are(tmp_path, monkeypatch):
    """37 GiB in a file of 300 bytes: refused before NumPy asks for the memory."""
    good = bomb(tmp_path / "good.npz", (2, 3), bytes(24))
    assert weights.read(good)["w"].shape == (2, 3)
    for shape, data in (
        ((100_000, 100_000), bytes(8)),
        ((2, 3), bytes(23)),
        ((2, 3), bytes(25)),
        ((1 << 62,), b""),
    ):
        said = refused(bomb(tmp_path / "bomb.npz", shape, data))
        assert "has other bytes than it says" in said
        assert "\n" not in said
    monkeypatch.setattr(weights, "MOST_BYTES", 100)
    assert "it unpacks to" in refused(bomb(tmp_path / "bomb.npz", (1000,), bytes(4000)))
    monkeypatch.setattr(weights, "_check_size", lambda *_: (_ for _ in ()).throw(MemoryError))
    assert refused(good).startswith(f"{good} holds more than fits into memory")


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_missing_files_and_folders(tmp_path, suffix):
    assert "no such file" in refused(tmp_path / f"w{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(tmp_path / f"folder{suffix}")


def test_other_names_are_refused(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"")
    assert ".safetensors, .npz, .pth, .pt" in refused(tmp_path / "w.h5")


def test_sha256_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example in FIPS 180-2
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights.sha256(tmp_path / "abc") == digest
    with pytest.raises(InputError, match="no such file"):
        weights.sha256(tmp_path / "none")


def test_weights_that_fit(tmp_path):
    weights.fit({"a": np.zeros((2, 3)), "b": np.zeros(())}, {"b": (), "a": (2, 3)}, tmp_path, "theirs")


def test_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    table = {"a": np.zeros((2, 3)), "c": np.zeros(4), "d": np.zeros(5)}
    with pytest.raises(InputError) as caught:
        weights.fit(table, {"a": (3, 2), "b": (7,)}, path, "theirs.pth")
    message = str(caught.value)
    for part in (
        "ba7816bf",
        "a is (2, 3), not (3, 2)",
        "b (7,) is missing",
        "c (4,) is unknown",
        "and 1 more",
    ):
        assert part in message
    assert "theirs.pth" in message
    assert "\n" not in message


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
def test_what_torch_saves_is_read_as_torch_reads_it(tmp_path, zip_format):
    torch = peers.load("torch")
    torch.manual_seed(0)
    shared = torch.randn(4, 5)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    saved = network.state_dict()  # with the _metadata that PyTorch attaches
    saved.update(
        parameter=torch.nn.Parameter(torch.randn(3)),
        view=shared[1:, ::2],
        transposed=shared.T,
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5, dtype=torch.float64),
        half=torch.randn(3).half(),
        numbers=torch.arange(-3, 4, dtype=torch.int8),
        flags=torch.tensor([True, False]),
    )
    path = tmp_path / "w.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=zip_format)
    assert zipfile.is_zipfile(path) is zip_format
    table = weights.read(path)
    assert list(table) == list(saved)
    for name, value in saved.items():
        expected = value.detach().numpy()
        assert table[name].dtype == expected.dtype
        np.testing.assert_array_equal(table[name], expected, strict=True)


def test_a_whole_module_is_refused(tmp_path):
    torch = peers.load("torch")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "w.pth")
    assert "would run torch.nn.modules.linear.Linear" in refused(tmp_path / "w.pth")
