"""Numbers from anywhere as sources store them: floating-point ones as float32, labels as int32, others as they are.

For example:

    >>> array("real", [[0.5, 1.0], [2.0, 3.0]]).dtype, array("label", [True, False]).dtype
    (dtype('float32'), dtype('int32'))
    >>> {name: x.shape for name, x in example((np.zeros((8, 8, 1), np.uint8), 3), index=0).items()}
    {'real': (8, 8, 1), 'label': ()}
    >>> array("real", [[0.5, 1.0], [2.0]])
    Traceback (most recent call last):
        ...
    jaxgan.errors.InputError: 'real' of example 1 has the shape [1], and of example 0 [2]; give all one shape
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxgan.errors import InputError


def array(name: str, value: Any) -> np.ndarray:
    """A field of all examples, as it is stored.

    Args:
      name: The field.
      value: `[N, ...]`: an array of NumPy, of JAX or of anything that NumPy takes, or nested lists of numbers.

    Returns:
      `[N, ...]`, C-contiguous and read-only. It is a copy, but for an array of JAX, which nobody can change.

    Raises:
      InputError: There are no examples, they are no numbers or are of several shapes, or a label is no whole number.
    """
    jax = sys.modules.get("jax")  # whoever has arrays of JAX has imported it
    try:
        x = np.asarray(value)
    except Exception as error:  # whatever the value's own conversion raises
        raise _no_array(name, value, error) from None
    if x.ndim and kind(x.dtype) is None:
        raise _no_array(name, value, None)
    if not x.ndim:
        raise InputError(f"{name!r} is {_called(x.dtype)} and no array; give all examples, [N, ...]")
    if not len(x):
        raise InputError(f"{name!r} has no examples; give at least one")
    _check_masked(repr(name), value)
    x = _converted(name, x, None, copy=not (jax and isinstance(value, jax.Array)))
    x.flags.writeable = False
    return x


def example(value: Any, index: int) -> dict[str, np.ndarray]:
    """The fields of one example, as they are stored.

    Args:
      value: A mapping of fields, an array, which is "real", or a tuple of an array and perhaps a label.
      index: The example's number, for messages.

    Raises:
      InputError: There is no "real", or something is no array of numbers.
    """
    found = {}
    for name, part in _by_field(value, index).items():
        where = f"{name!r} of example {index}"
        try:
            x = np.asarray(part)
        except Exception as error:
            raise InputError(f"{where} is no array of numbers ({_line(error)}); give one") from None
        _check_masked(where, part)
        found[name] = _converted(name, x, index, copy=False)
    return found


def is_example(value: Any) -> bool:
    """Whether an item of a list is an example by itself, a mapping or an array with its label, not a row of numbers."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, tuple) and len(value) == 2 and _is_whole(value[1]) and not _is_number(value[0])


def check_names(fields: Mapping[Any, Any]) -> None:
    """Refuses fields without "real", and names that are no strings.

    Raises:
      InputError: So it is.
    """
    for name in fields:
        if not isinstance(name, str):
            raise InputError(f"a field of the data is called {name!r}; give names that are strings")
    if "real" not in fields:
        raise InputError(
            f"the data has no field 'real', what a game learns to make; its fields are {listed(fields)}: rename one"
        )


def listed(fields: Iterable[str]) -> str:
    """The names of fields, for messages."""
    return ", ".join(fields) or "none"


def kind(dtype: np.dtype) -> Literal["float", "whole"] | None:
    """Whether numbers are floating-point or whole, truth values among these; None where they are neither."""
    if dtype.kind in "biu":
        return "whole"
    return (
        "float" if dtype.name.startswith(("float", "longdouble", "bfloat")) else None
    )  # bfloat16 is of kind "V"


def _no_array(name: str, value: Any, error: Exception | None) -> InputError:
    """What is wrong with a field that is no array of numbers: if possible, with which example."""
    shape = None
    for i, part in enumerate(value if isinstance(value, Sequence | np.ndarray) else ()):
        where = f"{name!r} of example {i}"
        try:
            x = np.asarray(part.tolist() if isinstance(part, np.ndarray) else part)  # objects may be numbers
        except Exception:
            return InputError(f"{where} is ragged; give lists of one length")
        if kind(x.dtype) is None:
            return InputError(f"{where} is {_called(x.dtype)}; give numbers alone")
        shape = x.shape if shape is None else shape
        if x.shape != shape:
            return InputError(
                f"{where} has the shape {list(x.shape)}, and of example 0 {list(shape)}; give all one shape"
            )
    reason = _line(error) if error else f"its dtype is {getattr(value, 'dtype', 'object')}"
    return InputError(f"{name!r} is no array of numbers ({reason}); give one, such as np.stack(examples)")


def _converted(name: str, x: np.ndarray, index: int | None, copy: bool) -> np.ndarray:
    """An example's field in the dtype that it is stored as; that of all examples `[N, ...]` if `index` is not given."""
    where = repr(name) if index is None else f"{name!r} of example {index}"
    what, shape = kind(x.dtype), x.shape[1:] if index is None else x.shape
    if what is None:
        raise InputError(f"{where} is {_called(x.dtype)}; give numbers alone")
    if 0 in shape:
        raise InputError(f"{where} is empty, of the shape {list(shape)}; give at least one number an example")
    if name == "label":
        if shape or what == "float":
            raise InputError(
                f"{where} is {x.dtype} {list(shape)} an example; give one whole number, the class"
            )
        most = np.iinfo(np.int32)
        bad = np.flatnonzero((x < most.min) | (x > most.max)) if x.dtype.itemsize > 2 else np.zeros(0, int)
        if bad.size:
            at = int(bad[0]) if index is None else index
            raise InputError(f"'label' of example {at} is {x.ravel()[bad[0]]}; number the classes from 0 on")
        return x.astype(np.int32, order="C", copy=copy)
    if what == "whole":
        return x.astype(x.dtype.newbyteorder("="), order="C", copy=copy)
    try:
        with np.errstate(over="raise"):
            return x.astype(np.float32, order="C", copy=copy)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            lost = np.isinf(x.astype(np.float32)) & np.isfinite(x)
        at = int(np.argwhere(lost)[0][0]) if index is None else index
        raise InputError(f"{name!r} of example {at} is too large for float32; scale it down") from None


def _by_field(value: Any, index: int) -> Mapping[str, Any]:
    """An example by its fields."""
    if isinstance(value, Mapping):
        check_names(value)
        return value
    if not isinstance(value, tuple):
        return {"real": value}
    if len(value) == 1:
        return {"real": value[0]}
    if len(value) == 2 and _is_whole(value[1]):
        return {"real": value[0], "label": value[1]}
    raise InputError(
        f"example {index} is a tuple of {len(value)}, and not of an array and its label, a whole number; give a "
        'mapping such as {"real": ..., "input": ...}'
    )


def _check_masked(where: str, value: Any) -> None:
    if np.ma.is_masked(value):
        raise InputError(f"{where} has masked numbers; fill them")


def _is_whole(value: Any) -> bool:
    return _is_number(value) and kind(np.asarray(value).dtype) == "whole"


def _is_number(value: Any) -> bool:
    try:
        x = np.asarray(value)
    except Exception:
        return False
    return not x.ndim and kind(x.dtype) is not None


def _called(dtype: np.dtype) -> str:
    """What messages call something of a dtype."""
    known = {"O": "a Python object", "U": "text", "S": "text", "c": "a complex number"}
    return known.get(dtype.kind, f"of dtype {dtype}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
