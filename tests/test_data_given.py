"""Sources of what is at hand: arrays, lists and objects are stored as promised, and what does not fit is named."""

import hashlib
import importlib
import json
import pickle
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from jaxgan import domains, experiment
from jaxgan.data import Arrays, Embedded, Indexed, Source, batches, given, load
from jaxgan.data.sources import Field
from jaxgan.errors import InputError

MODULE = importlib.import_module("jaxgan.data.sources.given")
POINTS = np.arange(12, dtype=np.float64).reshape(6, 2) / 8
LABELS = np.array([2, 0, 1, 0, 2, 1])
BYTES = np.arange(6 * 8 * 8 * 3).astype(np.uint8).reshape(6, 8, 8, 3)


class Rows:
    """An object that is asked for its examples, as a data set of PyTorch is; it counts how often."""

    def __init__(self, rows: Any, **more: Any) -> None:
        self.rows, self.asked = rows, 0
        self.__dict__.update(more)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        assert type(index) is int
        self.asked += 1
        return self.rows[index]


class Likewise:
    """What NumPy can make an array of, as it can of tensors of PyTorch."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


def refused(data: Any, **how: Any) -> str:
    """The one line that refuses data."""
    with pytest.raises(InputError) as found:
        given(data, **how)
    assert "\n" not in str(found.value)
    return str(found.value)


def pairs() -> list[tuple[np.ndarray, int]]:
    return [(x, int(label)) for x, label in zip(BYTES, LABELS, strict=True)]


def test_a_source_is_returned_as_it_is():
    source = Embedded("test")
    assert given(source) is source


def test_a_source_can_be_described_otherwise():
    source = Embedded("test")
    names = [f"kind {i}" for i in range(10)]
    named = given(source, classes=names)
    assert isinstance(named, Source)
    assert named.classes == tuple(names)
    assert (named.fields, len(named)) == (source.fields, 2000)
    np.testing.assert_array_equal(named[7]["real"], source[7]["real"])
    expected = hashlib.sha256(json.dumps([source.fingerprint, *names]).encode()).hexdigest()
    assert named.fingerprint == expected
    other = given(source, domain={"domain": "numbers"})
    assert domains.of(other) == domains.Numbers()
    assert other.classes == source.classes
    assert other.fingerprint == source.fingerprint
    assert domains.of(given(other, classes=names)) == domains.Numbers()
    pickled = pickle.loads(pickle.dumps(named))
    assert (pickled.fingerprint, pickled.classes) == (expected, named.classes)
    assert (
        refused(source, classes=["a"])
        == "`classes` are 1 names, and the source has 10 classes; name them all"
    )


@pytest.mark.parametrize(
    "data",
    [
        {"real": POINTS, "label": LABELS},
        {"label": LABELS.astype(np.uint8), "real": POINTS.astype(np.float16)},
        {"real": jnp.asarray(POINTS, jnp.float32), "label": jnp.asarray(LABELS)},
        {"real": POINTS.astype(ml_dtypes.bfloat16), "label": LABELS.tolist()},
        {"real": POINTS.tolist(), "label": list(LABELS)},
        {"real": np.asfortranarray(POINTS), "label": LABELS.astype(">i8")},
        {"real": list(POINTS), "label": Likewise(LABELS)},
    ],
    ids=["float64", "float16", "jax", "bfloat16", "lists", "fortran", "mixed"],
)
def test_arrays_of_any_kind_are_one_source(data):
    source = given(data)
    assert isinstance(source, Source)
    assert isinstance(source, Arrays)
    assert source.fields == {"real": Field((2,), "float32"), "label": Field((), "int32")}
    assert source.classes == ("0", "1", "2")
    assert domains.of(source) == domains.Numbers()
    assert len(source) == 6
    assert source.fingerprint == given({"real": POINTS, "label": LABELS}).fingerprint
    example = source[4]
    assert example["real"].dtype == np.float32
    assert example["real"].tolist() == [1.0, 1.125]
    assert isinstance(example["label"], np.int32)
    assert example["label"] == 2
    with pytest.raises(IndexError):
        source[6]
    experiment.build.__globals__["check"](source, domains.of(source))
    whole = load(source)
    assert whole["real"] is source.arrays()["real"]
    np.testing.assert_array_equal(whole["real"], POINTS.astype(np.float32))
    np.testing.assert_array_equal(whole["label"], LABELS)


def test_fields_keep_what_they_are():
    data = {
        **{
            "real": BYTES,
            "mask": BYTES[..., 0] > 7,
            "place": LABELS[:, None],
            "small": LABELS.astype(np.uint16),
        },
        **{"text": POINTS, "swapped": LABELS.astype(">i2")},
    }
    source = given(data)
    assert source.fields == {
        "real": Field((8, 8, 3), "uint8"),
        "mask": Field((8, 8), "bool"),
        "place": Field((1,), "int64"),
        "small": Field((), "uint16"),
        "text": Field((2,), "float32"),
        "swapped": Field((), "int16"),
        "label": Field((), "int32"),
    }
    assert source.classes == ()
    assert domains.of(source) == domains.Image()
    for name, values in data.items():
        np.testing.assert_array_equal(
            [source[i][name] for i in range(6)], values.astype(source.fields[name].dtype)
        )
    assert [source[i]["label"] for i in range(6)] == [0] * 6


def test_one_array_is_real():
    for data in (POINTS, POINTS.tolist(), jnp.asarray(POINTS, jnp.float32), Likewise(POINTS)):
        source = given(data)
        assert isinstance(source, Arrays)
        assert list(source.fields) == ["real", "label"]
        np.testing.assert_array_equal(source.arrays()["real"], POINTS.astype(np.float32))
    points = given([(0.5, 1), (2.0, 3)])  # rows of numbers, not pairs with a label
    assert points.fields["real"] == Field((2,), "float32")
    assert given([0.5, 1.5]).fields["real"] == Field((), "float32")
    assert given([Image.new("RGB", (8, 8))] * 3).fields["real"] == Field((8, 8, 3), "uint8")


def test_infinite_numbers_and_missing_ones_are_taken_as_they_are():
    source = given([[np.nan, np.inf], [-np.inf, 0.0]])
    np.testing.assert_array_equal(source.arrays()["real"], [[np.nan, np.inf], [-np.inf, 0.0]])


def test_arrays_are_safe_from_changes():
    points, labels = POINTS.astype(np.float32), LABELS.astype(np.int32)
    source = given({"real": points, "label": labels})
    before = given({"real": points.copy(), "label": labels.copy()}).fingerprint
    points[:], labels[:] = 7, 0
    source[1]["real"][:] = 9
    for x in load(source).values():
        with pytest.raises(ValueError, match="read-only"):
            x[:] = 0
    assert source[1]["real"].tolist() == [0.25, 0.375]
    assert source.fingerprint == before
    device = jnp.asarray(POINTS, jnp.float32)
    assert np.shares_memory(given(device).arrays()["real"], np.asarray(device))  # no copy


def test_the_fingerprint_is_of_all_that_there_is():
    source = given({"real": BYTES, "label": LABELS})
    what = [["label", [], "int32"], ["real", [8, 8, 3], "uint8"]], ["0", "1", "2"], 6
    content = json.dumps(what).encode() + LABELS.astype("<i4").tobytes() + BYTES.tobytes()
    assert source.fingerprint == hashlib.sha256(content).hexdigest()
    changed = BYTES.copy()
    changed[-1, -1, -1, -1] ^= 1
    others = [
        given({"real": changed, "label": LABELS}),
        given({"real": BYTES, "label": LABELS}, classes=["a", "b", "c"]),
        given({"real": BYTES}),
        given({"real": BYTES.reshape(6, 8, 24), "label": LABELS}, domain={"domain": "my-own"}),
        given({"real": BYTES, "label": LABELS, "more": LABELS}),
        given(pairs()),
    ]
    assert len({source.fingerprint, *(other.fingerprint for other in others)}) == 7
    assert given({"label": LABELS, "real": BYTES}).fingerprint == source.fingerprint


def test_another_process_has_the_same_fingerprints():
    code = (
        "import numpy as np; from jaxgan.data import given\n"
        "x = np.arange(12.).reshape(6, 2) / 8\n"
        "print(given({'label': [2, 0, 1, 0, 2, 1], 'real': x}).fingerprint)\n"
        "print(given([{'label': i % 2, 'real': x[i]} for i in range(6)]).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    examples = [{"real": x, "label": i % 2} for i, x in enumerate(POINTS)]
    assert done.stdout.split() == [
        given({"real": POINTS, "label": LABELS}).fingerprint,
        given(Rows(examples)).fingerprint,
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pairs(),
        [{"label": label, "real": x} for x, label in pairs()],
        [(jnp.asarray(x), np.int64(label)) for x, label in pairs()],
        [(x.tolist(), label) for x, label in [(x.astype(int), label) for x, label in pairs()]],
        [(Image.fromarray(x), np.array(label, np.uint8)) for x, label in pairs()],
    ],
    ids=["pairs", "mappings", "jax", "lists", "pillow"],
)
@pytest.mark.parametrize("kind", [Rows, list])
def test_objects_of_any_examples_are_sources(rows, kind):
    listed = isinstance(rows[0], tuple) and isinstance(rows[0][0], list)  # whole numbers of Python are int64
    source = given(kind(rows), domain={"domain": "my-own"} if listed else None)
    assert isinstance(source, Source)
    assert isinstance(source, Indexed)
    assert source.fields == {
        "real": Field((8, 8, 3), "int64" if listed else "uint8"),
        "label": Field((), "int32"),
    }
    assert source.classes == ("0", "1", "2")
    assert source.domain == ({"domain": "my-own"} if listed else {"domain": "image"})
    for i in range(6):
        np.testing.assert_array_equal(source[i]["real"], BYTES[i])
        assert source[i]["label"] == LABELS[i]
        assert source[i]["label"].dtype == np.int32
    np.testing.assert_array_equal(source[-1]["real"], BYTES[5])
    for index in (6, -7):
        with pytest.raises(IndexError):
            source[index]
    np.testing.assert_array_equal(load(source, progress=False)["label"], LABELS)


def test_objects_without_labels_have_no_classes():
    for rows in (POINTS, [(x,) for x in POINTS], [{"real": x} for x in POINTS]):
        source = given(Rows(rows, classes=["left", "right"]))
        assert source.classes == ()
        assert source.fields == {"real": Field((2,), "float32"), "label": Field((), "int32")}
        assert source[5]["real"].tolist() == POINTS[5].tolist()
        assert source[5]["label"] == 0


def test_an_object_may_say_its_classes_and_fingerprint():
    rows = Rows(pairs(), classes=["ape", "bee", "cat", "dog"], fingerprint="of the zoo")
    source = given(rows)
    assert source.classes == ("ape", "bee", "cat", "dog")
    assert source.fingerprint == "of the zoo"
    assert rows.asked == 1  # the first alone
    assert given(rows, classes=["x", "y", "z"]).classes == ("x", "y", "z")
    assert given(Rows(pairs(), classes={"ape": 0})).classes == ("0", "1", "2")  # no list of names


def test_large_objects_are_known_by_some_examples(monkeypatch):
    monkeypatch.setattr(MODULE, "FINGERPRINT_BYTES", 2**10)
    monkeypatch.setattr(MODULE, "SAMPLED", 3)
    rows = Rows(pairs())
    assert refused(rows).endswith("too many to count the classes; pass their names as `classes`")
    rows = Rows(pairs())
    source = given(rows, classes=["a", "b", "c"])
    assert rows.asked == 1 + 2 * 3  # examples 0, 2 and 4, twice

    def with_one_changed(place: int) -> str:
        changed = [(x.copy(), label) for x, label in pairs()]
        changed[place][0][0, 0, 0] ^= 1
        return given(Rows(changed), classes=["a", "b", "c"]).fingerprint

    assert [with_one_changed(i) == source.fingerprint for i in range(6)] == [False, True] * 3
    assert given(Rows([*pairs(), pairs()[0]]), classes=["a", "b", "c"]).fingerprint != source.fingerprint


def test_objects_that_are_another_each_time_are_refused(rng):
    class Noise(Rows):
        def __getitem__(self, index: int) -> Any:
            return rng.normal(size=2)

    assert refused(Noise(range(9))) == (
        "example 0 is another one each time that it is read, so no run would repeat; make it the same each time, or "
        "give the object a `fingerprint`, a string, to train all the same"
    )
    assert given(Noise(range(9), fingerprint="noise")).fingerprint == "noise"


def test_what_an_object_raises_comes_through():
    class Broken(Rows):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise KeyError("lost")
            return super().__getitem__(index)

    with pytest.raises(KeyError, match="lost"):
        given(Broken(POINTS))
    source = given(Broken(POINTS, fingerprint="broken"))
    with pytest.raises(KeyError, match="lost"):
        source[3]


def test_given_sources_pickle_and_stream():
    for data in ({"real": POINTS, "label": LABELS}, [{"real": x, "label": 1} for x in POINTS]):
        source = given(data)
        again = pickle.loads(pickle.dumps(source))
        assert again.fingerprint == source.fingerprint
        assert again.classes == source.classes
        np.testing.assert_array_equal(again[5]["real"], source[5]["real"])
    (batch,) = batches(given({"real": POINTS, "label": LABELS}), 0, 0, 1, 1, 6)
    order = (batch["real"][0, :, 0] * 4).astype(int)
    assert sorted(order) == list(range(6))
    np.testing.assert_array_equal(batch["label"][0], LABELS[order])


def test_classes_and_domains_that_are_given():
    named = given({"real": POINTS, "label": LABELS}, classes=["a", "b", "c", "d"])
    assert named.classes == ("a", "b", "c", "d")
    again = given(named, classes=["x", "y", "z"], domain=domains.Image())
    assert isinstance(again, Arrays)
    assert again.classes == ("x", "y", "z")
    assert again.domain == {"domain": "image"}
    assert again.arrays()["real"] is named.arrays()["real"]
    assert given(named, domain={"domain": "my-own", "rate": 3}).classes == named.classes
    assert given({"real": POINTS, "label": [0] * 6}, classes=[]).classes == ()
    wide = given(BYTES[:, :, :4], domain=domains.Image())
    assert wide.domain == {"domain": "image"}


@pytest.mark.parametrize(
    ("data", "how", "line"),
    [
        (
            {"real": POINTS, "label": LABELS[:5]},
            {},
            "'label' has 5 examples, and 'real' has 6; give every field as many",
        ),
        (
            [[1.0, 2.0], [1.0, 2.0], [3.0]],
            {},
            "'real' of example 2 has the shape [1], and of example 0 [2]; give all one",
        ),
        ({"real": [[[1.0]], [[1.0], [1, 2]]]}, {}, "'real' of example 1 is ragged; give lists of one length"),
        (
            [POINTS[:1], POINTS[:2]],
            {},
            "'real' of example 1 has the shape [2, 2], and of example 0 [1, 2]; give all",
        ),
        (
            np.array([[1.0], [1.0, 2.0]], object),
            {},
            "'real' of example 1 has the shape [2], and of example 0 [1]; give",
        ),
        (np.array([[1.0], [None]], object), {}, "'real' of example 1 is a Python object; give numbers alone"),
        (
            np.array([1.0, 2.0], object),
            {},
            "'real' is no array of numbers (its dtype is object); give one, such as",
        ),
        ([1.0, None], {}, "'real' of example 1 is a Python object; give numbers alone"),
        (["a", "b"], {}, "'real' of example 0 is text; give numbers alone"),
        ([[1.0], ["a"]], {}, "'real' of example 1 is text; give numbers alone"),
        (POINTS * 1j, {}, "'real' of example 0 is a complex number; give numbers alone"),
        (
            np.array(["2020-01-01"], "M8[D]"),
            {},
            "'real' of example 0 is of dtype datetime64[D]; give numbers alone",
        ),
        (np.ma.masked_less(POINTS, 1), {}, "'real' has masked numbers; fill them"),
        ({"real": [1.0, 2.0, 1e39]}, {}, "'real' of example 2 is too large for float32; scale it down"),
        ({"real": 3.0}, {}, "'real' is of dtype float64 and no array; give all examples, [N, ...]"),
        ({"real": {"a": 1}}, {}, "'real' is a Python object and no array; give all examples, [N, ...]"),
        ({}, {}, "no field 'real', what a game learns to make; its fields are none: rename one"),
        (
            {"image": BYTES, "y": LABELS},
            {},
            "no field 'real', what a game learns to make; its fields are image, y: rename",
        ),
        ({"real": POINTS, 3: POINTS}, {}, "a field of the data is called 3; give names that are strings"),
        ([], {}, "'real' has no examples; give at least one"),
        (POINTS[:0], {}, "'real' has no examples; give at least one"),
        (POINTS[:, :0], {}, "'real' is empty, of the shape [0]; give at least one number an example"),
        (Rows([]), {}, "the data has no examples; give at least one"),
        (
            (BYTES, LABELS),
            {},
            'a tuple does not say what its parts are; pass {"real": ..., "label": ...}, or a list',
        ),
        (
            "photos",
            {},
            'str is no data; pass {"real": array}, an array, or an object with __len__ and __getitem__',
        ),
        (iter(POINTS), {}, "is no data; pass"),
        (None, {}, "NoneType is no data; pass"),
        (Embedded, {}, "Embedded is no data; pass"),
        (
            {"real": POINTS, "label": LABELS / 2},
            {},
            "'label' is float64 [] an example; give one whole number, the class",
        ),
        (
            {"real": POINTS, "label": LABELS[:, None]},
            {},
            "'label' is int64 [1] an example; give one whole number",
        ),
        (
            {"real": POINTS, "label": LABELS - 1},
            {},
            "'label' of example 1 is -1; number the classes from 0 on",
        ),
        (
            {"real": POINTS, "label": LABELS + 2**31},
            {},
            "'label' of example 0 is 2147483650; number the classes from 0",
        ),
        (
            {"real": POINTS, "label": LABELS * 10**6},
            {},
            "'label' of example 0 is 2000000, too large to count the classes",
        ),
        (
            {"real": POINTS, "label": LABELS},
            {"classes": ["a", "b"]},
            "'label' of example 0 is 2, and there are 2 classes; name all as `classes`, or mend the label",
        ),
        (
            {"real": POINTS, "label": LABELS},
            {"classes": []},
            "'label' of example 0 is 2, and there are no classes; name",
        ),
        (
            POINTS,
            {"classes": ["a"]},
            "`classes` name labels, and the data has no field 'label'; add it, or leave out",
        ),
        (
            Rows(POINTS),
            {"classes": ["a"]},
            "`classes` name labels, and the data has no field 'label'; add it, or leave",
        ),
        (POINTS, {"classes": "ab"}, "`classes` is 'ab'; give a list of names, which are strings"),
        (POINTS, {"classes": 3}, "`classes` is 3; give a list of names, which are strings"),
        (POINTS, {"classes": [1, 2]}, "`classes` is [1, 2]; give a list of names, which are strings"),
        (
            POINTS,
            {"domain": "numbers"},
            "`domain` is 'numbers'; give a table such as {'domain': 'numbers'}, or a jaxgan.",
        ),
        (
            LABELS,
            {},
            "'real' is int64 [], neither square images, uint8 [R, R, 1 or 3], nor floating-point numbers; convert",
        ),
        (BYTES[:, :4], {}, "'real' is uint8 [4, 8, 3], neither square images"),
        (BYTES[..., 0], {}, "'real' is uint8 [8, 8], neither square images"),
        (
            Rows([*POINTS, POINTS[0, :1]]),
            {},
            "'real' of example 6 is float32 [1], and of example 0 float32 [2]; give all",
        ),
        (
            Rows([*POINTS, [1, 2]]),
            {},
            "'real' of example 6 is int64 [2], and of example 0 float32 [2]; give all the same",
        ),
        (Rows([*POINTS, ["a", 2.0]]), {}, "'real' of example 6 is text; give numbers alone"),
        (
            Rows([*POINTS, [[1.0], 2.0]]),
            {},
            "'real' of example 6 is no array of numbers (setting an array element with",
        ),
        (
            Rows([{"real": 1.0}, {"real": 1.0, "label": 0}]),
            {},
            "example 1 has the fields label, real, and example 0 real;",
        ),
        (
            Rows([{"real": 1.0, "label": 0}, {"real": 1.0}]),
            {},
            "example 1 has the fields real, and example 0 label, real;",
        ),
        (Rows([{"x": 1.0}]), {}, "no field 'real', what a game learns to make; its fields are x: rename one"),
        (
            Rows([(POINTS, POINTS)]),
            {},
            "example 0 is a tuple of 2, and not of an array and its label, a whole number; give",
        ),
        (Rows([*pairs(), (BYTES[0], -1)]), {}, "'label' of example 6 is -1; number the classes from 0 on"),
        (
            Rows([(BYTES[0], 0.5)]),
            {},
            "example 0 is a tuple of 2, and not of an array and its label, a whole number",
        ),
        (
            Rows(pairs(), classes=["a", "b"]),
            {},
            "'label' of example 0 is 2, and there are 2 classes; name all as `classes`, or mend the label",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(data, how, line):
    assert line in refused(data, **how)


def test_labels_of_no_class_are_refused_when_they_are_read():
    source = given(Rows(pairs(), fingerprint="x"), classes=["a", "b"])
    assert source[1]["label"] == 0
    with pytest.raises(InputError, match="'label' of example 4 is 2, and there are 2 classes"):
        source[4]

    class Wild(Embedded):
        classes = ()

    with pytest.raises(InputError, match="'label' of example 0 is 9, and there is 1 class;"):
        _ = [given(Wild("test"), classes=["only"])[i] for i in range(10)]
