"""openpi's messages: msgpack with numpy arrays in it, written as its clients read it and read strictly.

An array is the map ``{__ndarray__: true, data, dtype, shape}``, its names bytes; a numpy scalar likewise
``{__npgeneric__: true, data, dtype}``. Whoever sends is a stranger: nothing is unpickled, no length that a
message states takes memory before its bytes are there, and of dtypes only plain numbers are known.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import numpy.typing as npt

from lwd_core.errors import UserError

Array = npt.NDArray[Any]
#: What a field of a message holds.
Value = Array | bytes | str | bool | int | float | list[Any] | None

#: dtypes as numpy writes them, little-endian or of one byte.
DTYPES = ("|u1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8")
#: Items of a list, fields of a map, dimensions of an array, maps within maps: a robot needs no more.
_LIST, _MAP, _DIMS, _DEEP = 4096, 256, 4, 4
#: Bytes of a text, letters of a name.
_TEXT, _NAME = 2**16, 100
#: Size of an array in one dimension.
_SIDE = 2**16
#: Items of all lists and maps of a message: a byte of it can become a hundred in memory.
_ITEMS = 16 * _LIST
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_msgpack: Any = msgpack  # it says nothing of its types


class BadMessage(UserError):
    """What a robot sent is not as it must be; the line names the field and the remedy, and is its answer."""


def pack(value: Mapping[str, object]) -> bytes:
    """A message of ours; arrays may stand anywhere in it."""
    return _msgpack.packb(value, default=_array_as_map)


def unpack(data: bytes) -> dict[str, Value]:
    """The fields of a message, those of maps within it by their path: ``images/top``.

    Raises `BadMessage`. Arrays are views of the message and can't be written to.
    """
    items = 0

    def counted(part: list[Any]) -> list[Any]:
        nonlocal items
        items += 1 + len(part)
        if items > _ITEMS:
            raise ValueError(f"more than {_ITEMS} items")
        return part

    def one_each(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        found = dict(counted(pairs))
        if len(found) < len(pairs):
            raise ValueError("a map with a name twice")
        return found

    try:
        tree = _msgpack.unpackb(
            data,
            object_pairs_hook=one_each,
            list_hook=counted,
            ext_hook=_no_extension,
            max_str_len=_TEXT,
            max_array_len=_LIST,
            max_map_len=_MAP,
            max_ext_len=16,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise BadMessage(
            f"message: no msgpack ({clip(error) or type(error).__name__}); send one map, arrays as openpi's "
            "msgpack_numpy packs them"
        ) from error
    if not isinstance(tree, dict):
        raise BadMessage(f"message: a {_kind(tree)}; send a map with state, prompt and the pictures' names")
    fields: dict[str, Value] = {}
    for name, value in _leaves(cast("dict[object, object]", tree), "", 0):
        if name in fields:
            raise BadMessage(f"{clip(name)}: given twice; send it once")
        fields[name] = value
    return fields


def clip(value: object, most: int = 80) -> str:
    """What a stranger sent, as part of one line of ours."""
    text = "".join(c if c.isprintable() else "?" for c in str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


def _leaves(tree: dict[object, object], above: str, deep: int) -> Iterator[tuple[str, Value]]:
    if deep == _DEEP:
        raise BadMessage(f"{clip(above)}: maps within maps, deeper than {_DEEP}; send fewer")
    for key, value in tree.items():
        if isinstance(key, bytes):
            try:
                key = key.decode()
            except UnicodeDecodeError:
                raise BadMessage(f"{clip(above) or 'message'}: a name that is no text; send names") from None
        name = f"{above}/{key}" if above else str(key)
        if len(name) > _NAME:
            raise BadMessage(f"{clip(name)}: a name of {len(name)} letters; names have {_NAME} at most")
        if not isinstance(value, dict):
            yield name, _plain(name, value)
            continue
        inner = cast("dict[object, object]", value)
        if _ARRAY in inner:
            yield name, _array(name, inner)
        elif _SCALAR in inner:
            yield name, _plain(name, inner.get(b"data"))
        else:
            yield from _leaves(inner, name, deep + 1)


def _plain(name: str, value: object) -> Value:
    if value is None or isinstance(value, bool | int | float | str | bytes | list):
        return cast("Value", value)
    raise BadMessage(f"{clip(name)}: a {_kind(value)}; send numbers, texts, bytes or arrays")


def _array(name: str, packed: dict[object, object]) -> Array:
    where = clip(name)
    dtype, data, shape = (packed.get(key) for key in (b"dtype", b"data", b"shape"))
    if isinstance(dtype, bytes):
        dtype = dtype.decode("ascii", "replace")
    if dtype not in DTYPES:
        raise BadMessage(f"{where}: dtype {clip(dtype)}; send one of {', '.join(_names())}")
    if not isinstance(data, bytes):
        raise BadMessage(f"{where}: an array without bytes; send what its tobytes gives")
    sizes = cast("list[object]", shape) if isinstance(shape, list) else []
    whole = [n for n in sizes if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= _SIDE]
    if not isinstance(shape, list) or len(sizes) > _DIMS or len(whole) != len(sizes):
        said = cast("object", shape)
        raise BadMessage(f"{where}: shape {clip(said)}; send {_DIMS} sizes at most, each up to {_SIDE}")
    kind = np.dtype(str(dtype))
    if prod(whole) * kind.itemsize != len(data):
        raise BadMessage(
            f"{where}: {len(data)} bytes for {kind.name} of shape {tuple(whole)}; send the array whole"
        )
    return np.frombuffer(data, kind).reshape(whole)


def _names() -> Iterator[str]:
    return (np.dtype(dtype).name for dtype in DTYPES)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "map"
    return "nil" if value is None else type(value).__name__


def _no_extension(code: int, data: bytes) -> object:
    raise ValueError(f"an extension of type {code}")


def _array_as_map(value: object) -> object:
    if isinstance(value, np.ndarray):
        array = cast("Array", value)
        return {
            _ARRAY: True,
            b"data": array.tobytes(),
            b"dtype": array.dtype.str,
            b"shape": array.shape,
        }
    raise TypeError(f"{type(value).__name__} in a message")
