"""Reads protobuf descriptors from their wire format, with nothing but the standard library.

Only what the generators need of descriptor.proto is decoded. The build must not depend on a protobuf
runtime for Python: Debian's, a developer's and the one in the wheels differ.
"""


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """Yields (field number, value); a value is an int, or bytes for length-delimited and fixed fields."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
        elif wire in (1, 2, 5):
            if wire == 2:
                length, at = _varint(data, at)
            else:
                length = 8 if wire == 1 else 4
            value, at = data[at : at + length], at + length
            if len(value) != length:
                raise ValueError("truncated field")
        else:
            raise ValueError(f"wire type {wire} in a descriptor")
        yield key >> 3, value


def all_of(data, number):
    return [value for n, value in fields(data) if n == number]


def one_of(data, number, default=b""):
    """The last value wins, as protobuf has it."""
    found = all_of(data, number)
    return found[-1] if found else default


def text_of(data, number):
    return one_of(data, number).decode()


def _varint_bytes(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encoded(number, value):
    """One field: an int as a varint, bytes as a length-delimited field."""
    if isinstance(value, int):
        return _varint_bytes(number << 3) + _varint_bytes(value)
    return _varint_bytes(number << 3 | 2) + _varint_bytes(len(value)) + value


# The messages inside a FileDescriptorProto that hold names: field number → the same of what is in it.
_FIELD_OR_ONEOF = {}
_MESSAGE = {2: _FIELD_OR_ONEOF, 8: _FIELD_OR_ONEOF}
_MESSAGE[3] = _MESSAGE
_SERVICE = {2: {}}
_OPTIONS = {}
_FILE = {4: _MESSAGE, 6: _SERVICE, 8: _OPTIONS}


def with_strings(data, change, inner=None):
    """A serialized FileDescriptorProto in which change(bytes) was applied to every string."""
    inner = _FILE if inner is None else inner
    out = b""
    for number, value in fields(data):
        if number in inner:
            value = with_strings(value, change, inner[number])
        elif isinstance(value, bytes):
            value = change(value)
        out += encoded(number, value)
    return out


class File:
    """A FileDescriptorProto: its bytes, and the few things of it that the generators look at."""

    def __init__(self, data):
        self.data = data
        self.name = text_of(data, 1)
        self.package = text_of(data, 2)
        self.imports = [value.decode() for value in all_of(data, 3)]
        self.messages = []  # full names, nested ones included, map entries not
        self.enums = []
        self.services = []  # (full name, [Method])
        self.extensions = []  # (full name, extendee, field number)
        self.symbols = []  # every full name that reflection may be asked for
        self._scope(data, self.package, message_field=4, enum_field=5, extension_field=7)
        for service in all_of(data, 6):
            name = self._full(self.package, text_of(service, 1))
            methods = [Method(value) for value in all_of(service, 2)]
            self.services.append((name, methods))
            self.symbols.append(name)
            self.symbols.extend(f"{name}.{method.name}" for method in methods)

    @staticmethod
    def _full(scope, name):
        return f"{scope}.{name}" if scope else name

    def _scope(self, data, scope, message_field, enum_field, extension_field):
        for message in all_of(data, message_field):
            name = self._full(scope, text_of(message, 1))
            is_map_entry = one_of(one_of(message, 7), 7, 0)
            if not is_map_entry:
                self.messages.append(name)
            self.symbols.append(name)
            self.symbols.extend(f"{name}.{text_of(field, 1)}" for field in all_of(message, 2))
            self.symbols.extend(f"{name}.{text_of(oneof, 1)}" for oneof in all_of(message, 8))
            self._scope(message, name, message_field=3, enum_field=4, extension_field=6)
        for enum in all_of(data, enum_field):
            name = self._full(scope, text_of(enum, 1))
            self.enums.append(name)
            self.symbols.append(name)
            # An enum's values live beside it, not in it.
            self.symbols.extend(self._full(scope, text_of(value, 1)) for value in all_of(enum, 2))
        for extension in all_of(data, extension_field):
            name = self._full(scope, text_of(extension, 1))
            self.extensions.append((name, text_of(extension, 2).lstrip("."), one_of(extension, 3, 0)))
            self.symbols.append(name)


class Method:
    """A MethodDescriptorProto with the HTTP routes of its google.api.http annotation."""

    HTTP_OPTION = 72295728
    VERBS = {2: "GET", 3: "PUT", 4: "POST", 5: "DELETE", 6: "PATCH"}

    def __init__(self, data):
        self.name = text_of(data, 1)
        self.request = text_of(data, 2).lstrip(".")
        self.response = text_of(data, 3).lstrip(".")
        self.client_streaming = bool(one_of(data, 5, 0))
        self.server_streaming = bool(one_of(data, 6, 0))
        self.routes = []  # (verb, pattern, body)
        for rule in all_of(one_of(data, 4), self.HTTP_OPTION):
            self._add_rule(rule)

    def _add_rule(self, rule):
        for number, value in fields(rule):
            if number in self.VERBS:
                self.routes.append((self.VERBS[number], value.decode(), text_of(rule, 7)))
            elif number == 8:  # custom: a verb of its own
                self.routes.append((text_of(value, 1), text_of(value, 2), text_of(rule, 7)))
        for binding in all_of(rule, 11):
            self._add_rule(binding)


def read_set(data):
    """The files of a serialized FileDescriptorSet, in its order."""
    return [File(value) for value in all_of(data, 1)]
