"""Message encodings: from a payload's bytes to something fields can be read from.

The classes come from the schema in the file, never from this program's own idea of the message.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mcap.records import Schema
from mcap_protobuf.decoder import DecoderFactory
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

Decoder = Callable[[Any], Any]  # of bytes or a memoryview


class NoDecoder(Exception):
    """The encoding or schema cannot be decoded; says why."""


@dataclass(frozen=True)
class Encoding:
    """How a channel's messages are written."""

    message: str
    schema: str
    name: str
    text: bytes


@lru_cache(maxsize=128)  # a fleet's logs hold the same few schemas, and building classes is the dear part
def decoder(encoding: Encoding) -> Decoder:
    """A decoder of one channel's payloads. Raises `NoDecoder`."""
    try:
        if encoding.message == "json":
            return lambda payload: json.loads(bytes(payload))
        if encoding.message == "protobuf":
            return _protobuf(encoding)
        if encoding.message == "cdr":
            return _cdr(encoding)
        if encoding.message == "ros1":
            return _ros1(encoding)
    except NoDecoder:
        raise
    except Exception as e:  # a foreign schema fails in as many ways as there are parsers
        raise NoDecoder(f"schema {encoding.name}: {type(e).__name__}: {e}"[:300]) from e
    raise NoDecoder(f"message encoding {encoding.message!r} is not known")


def _protobuf(encoding: Encoding) -> Decoder:
    schema = Schema(id=1, data=encoding.text, encoding=encoding.schema, name=encoding.name)
    decode = DecoderFactory().decoder_for("protobuf", schema)
    if decode is None:
        raise NoDecoder(f"schema {encoding.name}: encoding {encoding.schema!r}, not protobuf")
    message_class = type(decode(b""))
    return message_class.FromString


def _cdr(encoding: Encoding) -> Decoder:
    store, name = _ros_types(encoding)
    return lambda payload: store.deserialize_cdr(bytes(payload), name)


def _ros1(encoding: Encoding) -> Decoder:
    store, name = _ros_types(encoding)
    return lambda payload: store.deserialize_ros1(bytes(payload), name)


def _ros_types(encoding: Encoding) -> tuple[Typestore, str]:
    """A type store that knows the channel's type, each channel its own: definitions may differ."""
    name = encoding.name
    if name.count("/") == 1:
        package, short = name.split("/")
        name = f"{package}/msg/{short}"
    text = encoding.text.decode()
    if not text.strip():
        if name not in (store := get_typestore(Stores.LATEST)).types:
            raise NoDecoder(
                f"type {name}: the log holds no definition of it (sqlite bags from before ROS 2 Iron never "
                f"do); record to MCAP, or `ros2 bag convert` it where the package {name.split('/')[0]} is "
                "installed"
            )
        return store, name
    store = get_typestore(Stores.EMPTY)
    types = get_types_from_idl(text) if encoding.schema == "ros2idl" else get_types_from_msg(text, name)
    store.register(types)
    if name not in store.types:
        raise NoDecoder(f"schema {name}: its definition does not hold it")
    return store, name
