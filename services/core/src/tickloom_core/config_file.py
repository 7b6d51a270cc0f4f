"""Reads the configuration file and says of each mistake which file, line and key it is in, and what would be right."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from tickloom_core.config import Config
from tickloom_core.errors import ConfigError

_Path = tuple[str, ...]
_S = TypeVar("_S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class _Document:
    """A parsed file together with the line of each of its keys."""

    name: str
    lines: dict[_Path, int]

    def error(self, path: _Path, message: str) -> ConfigError:
        line = self.lines.get(path)
        return ConfigError(message, place=f"{self.name}:{line}" if line else self.name, path=".".join(path))


def load_config(path: str | Path) -> Config:
    """Read and check the configuration file at `path`.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or holds a key or value that is not known.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {error.strerror}", place=str(path)) from error
    return parse_config(text, name=str(path))


def parse_config(text: str, *, name: str) -> Config:
    """Check the text of a configuration file; `name` stands for it in messages.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"this is no YAML: {error.problem}", place=f"{name}{line}") from error
    document = _Document(name, {})
    if node is not None:
        _collect_lines(node, (), document)
    return _decode_struct(Config, {} if raw is None else raw, (), document)


def _collect_lines(node: yaml.Node, path: _Path, document: _Document) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        inner = (*path, str(key.value))
        is_repeated = inner in document.lines
        document.lines[inner] = key.start_mark.line + 1
        if is_repeated:
            raise document.error(inner, "given twice; keep one")
        _collect_lines(value, inner, document)


def _decode_struct(kind: type[_S], raw: object, path: _Path, document: _Document) -> _S:
    if not isinstance(raw, dict):
        raise document.error(path, f"expected a mapping of settings, found {_describe(raw)}")
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        inner = (*path, str(key))
        if key not in kind.__struct_fields__:
            raise document.error(inner, _unknown(str(key), kind.__struct_fields__, "setting"))
        values[key] = _decode_value(hints[key], value, inner, document)
    return kind(**values)


def _decode_value(hint: Any, value: object, path: _Path, document: _Document) -> object:  # noqa: ANN401 - a type hint
    struct = _struct_in(hint)
    if struct is not None and value is not None:
        return _decode_struct(struct, value, path, document)
    if get_origin(hint) is dict and (item := _struct_in(get_args(hint)[1])) is not None:
        return _decode_mapping(get_args(hint)[0], item, value, path, document)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        allowed = get_args(hint) if get_origin(hint) is Literal else ()
        expected = f"expected one of {', '.join(allowed)}" if allowed else _lower_first(str(error))
        raise document.error(path, f"{expected}; found {_describe(value)}") from error


def _decode_mapping(
    key_hint: Any,  # noqa: ANN401 - a type hint
    item: type[msgspec.Struct],
    value: object,
    path: _Path,
    document: _Document,
) -> dict[str, object]:
    if not isinstance(value, dict):
        raise document.error(path, f"expected a mapping of names, found {_describe(value)}")
    known = get_args(key_hint)
    for key in value:
        if known and key not in known:
            raise document.error((*path, str(key)), _unknown(str(key), known, "name"))
    return {
        str(key): _decode_struct(item, {} if inner is None else inner, (*path, str(key)), document)
        for key, inner in value.items()
    }


def _struct_in(hint: object) -> type[msgspec.Struct] | None:
    for candidate in (hint, *get_args(hint)):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct) and get_origin(hint) is not dict:
            return candidate
    return None


def _unknown(key: str, known: tuple[str, ...], noun: str) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}"
    return f"unknown {noun} `{key}`; {hint}"


def _describe(value: object) -> str:
    return "nothing" if value is None else f"`{value}` ({type(value).__name__})"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
