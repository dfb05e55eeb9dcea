"""The registry of the events that may cross, and the codec of their data."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec

from antiphon.bridges._checks import check_count, show
from antiphon.bridges._errors import CodecError, ConfigurationError

__all__ = ("EventRegistry", "RegisteredType", "TooNewError", "UnknownTypeError")

C = TypeVar("C", bound=type[Any])

#: The names of types: what CloudEvents calls `type`. They are also part of file names and of AsyncAPI documents.
_TYPE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,254}")


class UnknownTypeError(CodecError):
    """Raised if the type of a received event is not registered."""


class TooNewError(CodecError):
    """Raised if the version of a received event is newer than each version that is registered."""


class RegisteredType(NamedTuple):
    """A registered class of events, with its name and version."""

    #: The registered name.
    name: str
    #: The version of its fields.
    version: int
    #: The class.
    cls: type[Any]
    #: The function that returns the key of an event. The key selects the partition; if this is None, the id does.
    key: Callable[[Any], str | None] | None

    def get_key(self, event: object) -> str | None:
        """Return the key of an event, None if it has none.

        Raises:
            CodecError: If the function raises an exception, or returns something else than a string or None.
        """
        if self.key is None:
            return None
        try:
            key: object = self.key(event)
        except Exception as exc:
            raise CodecError(f"key= of {self.name!r} raised {show(exc)}; it returns a string or None") from exc
        if key is not None and (not isinstance(key, str) or not key):
            raise CodecError(
                f"key= of {self.name!r} returns a string that is not empty, or None; it returned {show(key)}"
            )
        return key


class EventRegistry:
    """The classes of events that may cross between processes. Nothing else is ever encoded or created.

    Args:
        max_bytes: The maximum size of a published event, with its envelope.

    Raises:
        ConfigurationError: If ``max_bytes`` is not an int of at least 1.
    """

    def __init__(self, *, max_bytes: int = 262_144) -> None:
        self.max_bytes: Final = check_count(max_bytes, "max_bytes=")
        self._by_class: dict[type[Any], RegisteredType] = {}
        self._by_name: dict[str, dict[int, RegisteredType]] = {}
        self._upcasts: dict[tuple[str, int], Callable[[dict[str, Any]], Mapping[str, Any]]] = {}
        self._decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}

    def register(
        self, name: str, /, *, version: int = 1, key: Callable[[Any], str | None] | None = None
    ) -> Callable[[C], C]:
        """Register a class of events: a dataclass, a class of attrs, or a struct of msgspec.

        Args:
            name: The name of the type outside of this program, such as ``"shop.order-placed"``.
            version: The version of its fields. Increase it if a field changes so that older programs cannot read it.
            key: A function that returns the key of an event. Events of one key are in one partition, in order.

        Returns:
            A decorator, which returns the class itself.

        Raises:
            ConfigurationError: If the name or the version is invalid or already registered, or if the class is already
                registered or has no fields that can be encoded.
        """
        _check_type_name(name)
        check_count(version, "version=")
        if key is not None and not callable(key):
            raise ConfigurationError(f"key= is a function of the event; got {show(key)}")

        def decorate(cls: C) -> C:
            self._add(RegisteredType(name, version, cls, key))
            return cls

        return decorate

    def _add(self, added: RegisteredType) -> None:
        if not _has_fields(added.cls):
            raise ConfigurationError(
                f"a class of events that may cross is a dataclass, a class of attrs or a msgspec.Struct; got "
                f"{show(added.cls)}: write @events.register(...) above @dataclass"
            )
        if added.cls in self._by_class:
            raise ConfigurationError(f"{show(added.cls)} is already registered, as {self._by_class[added.cls].name!r}")
        versions = self._by_name.setdefault(added.name, {})
        if added.version in versions:
            raise ConfigurationError(
                f"version {added.version} of {added.name!r} is already registered, with {versions[added.version].cls!r}"
            )
        versions[added.version] = self._by_class[added.cls] = added

    def upcast(self, name: str, version: int, function: Callable[[dict[str, Any]], Mapping[str, Any]], /) -> None:
        """Register a function that converts the data of a version to the next version.

        Received events of an older version pass through all of these functions up to a registered version.

        Args:
            name: The name of the type.
            version: The older version.
            function: Takes the data as a dict, and returns the data of version ``version + 1``.

        Raises:
            ConfigurationError: If there is a function for this version already, or if an argument is invalid.
        """
        _check_type_name(name)
        check_count(version, "version of upcast()")
        if not callable(function):
            raise ConfigurationError(
                f"upcast() takes a function of the data, which returns a dict; got {show(function)}"
            )
        if (name, version) in self._upcasts:
            raise ConfigurationError(f"version {version} of {name!r} has an upcast() already")
        self._upcasts[name, version] = function

    @property
    def types(self) -> tuple[RegisteredType, ...]:
        """The registered types, in the order of registration."""
        return tuple(self._by_class.values())

    def schema(self, name: str, version: int | None = None) -> dict[str, Any]:
        """Return the JSON Schema of the data of a type.

        Args:
            name: The name of the type.
            version: The version; by default the newest one.

        Raises:
            ConfigurationError: If it is not registered, or if an argument is invalid.
        """
        _check_type_name(name)
        versions = self._by_name.get(name, {})
        found = versions.get(max(versions, default=0) if version is None else check_count(version, "version="))
        if not versions:
            raise ConfigurationError(f"the type {name!r} is not registered; registered are {sorted(self._by_name)}")
        if found is None:
            raise ConfigurationError(f"version {version} of {name!r} is not registered; there are {sorted(versions)}")
        return msgspec.json.schema(found.cls)

    def find(self, cls: type[Any]) -> RegisteredType | None:
        """Return the registration of exactly this class, None if there is none."""
        found: object = cls
        return self._by_class.get(cls) if isinstance(found, type) else None

    def check(self) -> None:
        """Check that all fields of all classes can be encoded and decoded.

        Raises:
            ConfigurationError: If the type of a field cannot be encoded, or an annotation cannot be resolved.
        """
        for registered in self._by_class.values():
            self._get_decoder(registered)

    def encode(self, event: object) -> tuple[RegisteredType, msgspec.Raw]:
        """Return the registration of an event, and its data as JSON.

        Raises:
            CodecError: If its class is not registered, or if its data does not have the types of its fields.
        """
        registered = self._by_class.get(type(event))
        if registered is None:
            if isinstance(event, type):
                raise CodecError(f"expected an event; got the class {event.__qualname__}: create an object of it")
            raise CodecError(
                f"the class of an event that is published is registered; got {type(event).__qualname__}: decorate "
                f"this very class with @events.register(...), because a subclass would arrive as its base"
            )
        try:
            data = msgspec.json.encode(event)
            # msgspec encodes fields of a wrong type, which no process could then decode.
            self._get_decoder(registered).decode(data)
            if b"null" in data or b"NaN" in data or b"Infinity" in data:
                _check_finite(msgspec.to_builtins(event, builtin_types=(Decimal,)), registered.name)
        except (CodecError, ConfigurationError):
            raise
        except Exception as exc:
            raise CodecError(f"the event {registered.name!r} cannot be encoded: {exc}") from exc
        return registered, msgspec.Raw(data)

    def decode(self, name: str, version: int, data: msgspec.Raw) -> Any:
        """Return the event that some data describes.

        Raises:
            CodecError: If the type is not registered, if the version is newer than all that are registered, if the data
                does not describe an event, or if an upcast is missing or raises an exception.
        """
        versions = self._by_name.get(name)
        if versions is None:
            raise UnknownTypeError(f"the type {name!r} is not registered")
        if version > max(versions):
            raise TooNewError(f"version {version} of {name!r} is newer than version {max(versions)}, which is known")
        try:
            if (name, version) not in self._upcasts and version in versions:
                return self._get_decoder(versions[version]).decode(data)
            return self._decode_older(name, version, versions, data)
        except (CodecError, ConfigurationError):
            raise
        except Exception as exc:
            raise CodecError(f"the data of {name!r} (version {version}) cannot be decoded: {exc}") from exc

    def _decode_older(self, name: str, version: int, versions: dict[int, RegisteredType], data: msgspec.Raw) -> Any:
        fields: Any = msgspec.json.decode(data)
        while (name, version) in self._upcasts:
            fields = self._upcasts[name, version](fields)
            version += 1
        if version not in versions:
            raise CodecError(f"version {version} of {name!r} is not registered, and has no upcast()")
        return msgspec.convert(fields, versions[version].cls)

    def _get_decoder(self, registered: RegisteredType) -> msgspec.json.Decoder[Any]:
        decoder = self._decoders.get(registered.cls)
        if decoder is None:
            try:
                _check_fields(msgspec.inspect.type_info(registered.cls), registered.name, set())
                decoder = self._decoders[registered.cls] = msgspec.json.Decoder(registered.cls)
            except (TypeError, NameError) as exc:
                raise ConfigurationError(f"the fields of {registered.cls!r} cannot be encoded: {exc}") from exc
        return decoder


def _check_type_name(name: object) -> None:
    if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of a type is up to 255 letters, digits, dots, dashes, slashes and underscores, such as "
            f"'shop.order-placed'; got {show(name)}"
        )


def _has_fields(cls: Any) -> bool:
    # The annotations of a class cannot be resolved yet: they may name classes that are defined further down.
    if not inspect.isclass(cls):
        return False
    return is_dataclass(cls) or isinstance(cls, msgspec.StructMeta) or "__attrs_attrs__" in vars(cls)


def _check_fields(info: msgspec.inspect.Type, where: str, seen: set[int]) -> None:
    """Check that no field has a type that msgspec does not know, which would fail at the first event only."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        raise ConfigurationError(f"{where} has the type {info.cls!r}, which cannot be encoded; use a dataclass")
    for name in info.__struct_fields__:
        part: object = getattr(info, name)
        for inner in cast("tuple[object, ...]", part) if isinstance(part, tuple) else (part,):
            if isinstance(inner, msgspec.inspect.Field):
                _check_fields(inner.type, f"the field {inner.name!r} of {where}", seen)
            elif isinstance(inner, msgspec.inspect.Type):
                _check_fields(inner, where, seen)


def _check_finite(value: Any, where: str) -> None:
    """Check that no number is infinite or NaN, which JSON cannot express.

    msgspec would encode such a float as null, and such a Decimal as a text that no other program expects.

    Raises:
        CodecError: If there is one.
    """
    if isinstance(value, Decimal):
        # As a float, a large one is infinite.
        is_finite = value.is_finite()
    else:
        is_finite = not isinstance(value, float) or math.isfinite(value)
    if not is_finite:
        raise CodecError(f"the event {where!r} contains the number {value!r}, which JSON cannot express")
    members: Iterable[Any] = ()
    if isinstance(value, dict):
        members = cast("Mapping[Any, Any]", value).values()
    elif isinstance(value, list | tuple):
        members = cast("Iterable[Any]", value)
    for member in members:
        _check_finite(member, where)
