"""Writes `types.py`, `kinds.py` and `sync.py` of the package: the first two from the protocol's schema, the last from the asyncio client.

    python generate.py           writes them
    python generate.py --check   says which are not fresh, and fails then

The generators that are around make validators (pydantic, msgspec) of a schema, which a package without dependencies can't use, or
lose the descriptions; what is needed here is small: frozen dataclasses with Python's names, and their wire names beside them.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "src" / "turnlane"
SCHEMA = HERE.parent.parent / "schema"

# What is not a dataclass of its own: envelopes, and the parameters of methods, which are Python parameters.
ENVELOPE = re.compile(r"(Params|Request|Response|Notification)$|^(Client|Server)(Message|Batch)$|^(Request|Error|RequestId)$")
# Written by hand, since its content depends on its method, or a name for another type.
BY_HAND = {"Event", "CompletionEvent", "NoParams", "ClientInfo", "ContentBlock", "AllSessions", "JsonRpcError"}
BASES = {"Completion": "CompletionMethods"}
RESERVED = {"from": "from_"}


def snake(name: str) -> str:
    """`exitCode` → `exit_code`."""
    plain = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match.group(1).lower(), name)
    return RESERVED.get(plain, plain)


def wrapped(text: str, indent: str) -> List[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def docstring(text: str, indent: str) -> List[str]:
    text = text.replace("\\", "\\\\")
    if len(text) + len(indent) <= 104:
        return [f'{indent}"""{text}"""']
    return [f'{indent}"""', *wrapped(text, indent), f'{indent}"""']


class Types:
    """The definitions of the schema as Python."""

    def __init__(self, schema: Dict[str, Any]) -> None:
        self.defs: Dict[str, Dict[str, Any]] = schema["$defs"]

    def wanted(self) -> List[str]:
        return [
            name
            for name in self.defs
            if not ENVELOPE.search(name) and name not in BY_HAND and (not name.endswith("Error") or name == "RunError")
        ]

    def literals(self, definition: Dict[str, Any]) -> Optional[List[str]]:
        """The words of an enumeration."""
        if "enum" in definition:
            return list(definition["enum"])
        branches = definition.get("oneOf", [])
        if branches and all("const" in branch for branch in branches):
            return [branch["const"] for branch in branches]
        return None

    def is_class(self, name: str) -> bool:
        return "properties" in self.defs[name]

    def python(self, schema: Dict[str, Any]) -> Tuple[str, str]:
        """A type, and the expression that decodes it: `None` where the JSON value is the value."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            if name in ("Event", "CompletionEvent"):
                return name, name
            return name, name if self.is_class(name) else "None"
        if "anyOf" in schema:
            kinds = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
            if len(kinds) == 1:
                return self.python(kinds[0])
            made = [self.python(branch)[0] for branch in kinds]
            return f"Union[{', '.join(made)}]", "None"
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next(one for one in kind if one != "null")
        if kind == "array":
            item, decoder = self.python(schema.get("items", {}))
            return f"List[{item}]", "None" if decoder == "None" else f"[{decoder}]"
        if kind == "object":
            extra = schema.get("additionalProperties")
            if isinstance(extra, dict):
                return f"Dict[str, {self.python(extra)[0]}]", "None"
            properties = list(schema.get("properties", {}).values())
            if properties and all(one.get("type") == "integer" for one in properties):
                return "Dict[str, int]", "None"
            if set(schema.get("properties", {})) == {"name", "version"}:
                return "Dict[str, str]", "None"
            return "Dict[str, Any]", "None"
        plain = {"string": "str", "integer": "int", "boolean": "bool", "number": "float"}
        return plain.get(str(kind), "Any"), "None"

    def merged(self, definition: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
        """All properties that an object may have, and those that it always has."""
        properties = dict(definition.get("properties", {}))
        required = list(definition.get("required", []))
        for key in ("anyOf", "oneOf"):
            branches = []
            for branch in definition.get(key, []):
                if "$ref" in branch:
                    branch = self.defs[branch["$ref"].rsplit("/", 1)[1]]
                branches.append(branch)
                for name, value in branch.get("properties", {}).items():
                    properties.setdefault(name, value)
            if branches:
                required += [name for name in properties if all(name in branch.get("required", []) for branch in branches)]
        return properties, required

    def klass(self, name: str) -> Tuple[List[str], List[str]]:
        """A dataclass, and its row in the table of wire names."""
        definition = self.defs[name]
        properties, required = self.merged(definition)
        base = BASES.get(name, "Wire")
        lines = ["@dataclass(frozen=True)", f"class {name}({base}):"]
        lines += [*docstring(definition.get("description", name), "    "), ""]
        rows = []
        for wire in sorted(properties, key=lambda one: one not in required):
            schema = properties[wire]
            kind, decoder = self.python(schema)
            field = snake(wire)
            if wire in required:
                lines.append(f"    {field}: {kind}")
            else:
                lines.append(f"    {field}: Optional[{kind}] = None")
            if "description" in schema:
                lines += docstring(schema["description"], "    ")
            rows.append(f'        ("{wire}", "{field}", {decoder}),')
        return [*lines, "", ""], [f"    {name}: (", *rows, "    ),"]

    def text(self) -> str:
        aliases: List[str] = []
        classes: List[str] = []
        table: List[str] = []
        names = self.wanted()
        for name in names:
            definition = self.defs[name]
            words = self.literals(definition)
            if words is not None:
                joined = ", ".join(f'"{word}"' for word in words)
                line = f"{name} = Literal[{joined}]"
                if len(line) > 116:
                    inside = [f'    "{word}",' for word in words]
                    aliases += [f"{name} = Literal[", *inside, "]"]
                else:
                    aliases.append(line)
            elif self.is_class(name):
                made, rows = self.klass(name)
                classes += made
                table += rows
            elif name == "Agent":
                aliases.append('Agent = Union[str, "AgentDescription"]')
            elif name == "PromptContent":
                aliases.append("PromptContent = Union[str, List[ContentBlock]]")
            elif name == "Sessions":
                aliases.append('Sessions = Union[Literal["all"], List[SessionId]]')
            else:
                aliases.append(f"{name} = {self.python(definition)[0]}")
                continue
            if words is not None or name in ("Agent", "PromptContent", "Sessions"):
                aliases += docstring(definition["description"], "") if "description" in definition else []
        notifications = []
        for name in self.defs:
            if name.endswith("Notification") and "properties" in self.defs[name]:
                shape = self.defs[name]["properties"]
                content = shape["params"]["$ref"].rsplit("/", 1)[1]
                content = "Completion" if content == "CompletionEvent" else content
                notifications.append(f'    "{shape["method"]["const"]}": {content},')
        order = "SessionId = str", "RunId = str", "Seq = int"
        aliases = [line for line in aliases if line not in order]
        return "\n".join(
            [
                '"""What the protocol\'s answers and notifications hold. Generated by generate.py from the schema: do not edit.',
                "",
                "Names are the protocol's in Python's spelling: `exitCode` is `exit_code`. Times are milliseconds since 1970, durations",
                "milliseconds. What is `None` was absent. Words of an enumeration may grow: decide by those that you know.",
                '"""',
                "",
                "from __future__ import annotations",
                "",
                "from dataclasses import dataclass",
                "from typing import Any, Dict, List, Literal, Mapping, Optional, Tuple, Union",
                "",
                "from ._wire import CompletionMethods, Event, Wire, register",
                "",
                *order,
                "ContentBlock = Dict[str, Any]",
                '"""A content block as in the Agent Client Protocol: an object with a `type`."""',
                *aliases,
                "",
                "",
                *classes,
                "CompletionEvent = Completion",
                '"""A completion as an event: it has its `cursor`."""',
                "",
                "SHAPES: Mapping[type, Tuple[Tuple[str, str, Any], ...]] = {",
                *table,
                "}",
                '"""Of each class: name on the wire, name here, and how it is read."""',
                "",
                "NOTIFICATIONS: Mapping[str, type] = {",
                *notifications,
                "}",
                '"""What each notification brings."""',
                "",
                "register(SHAPES, NOTIFICATIONS)",
                "",
            ]
        )


def kinds(schema: Dict[str, Any]) -> str:
    """A class for each kind of error."""
    lines = [
        '"""One exception for each kind of error. Generated by generate.py from the schema: do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Mapping, Type",
        "",
        "from ._error import TurnlaneError",
        "",
    ]
    table = []
    for name, definition in schema["$defs"].items():
        data = definition.get("properties", {}).get("data")
        if not name.endswith("Error") or not data:
            continue
        kind = data["properties"]["kind"]["const"]
        lines += ["", f"class {name}(TurnlaneError):", *docstring(definition["description"], "    "), ""]
        table.append(f'    "{kind}": {name},')
    lines += ["", "KINDS: Mapping[str, Type[TurnlaneError]] = {", *table, "}"]
    lines += ['"""The class of each `data.kind`."""', ""]
    return "\n".join(lines)


def annotation(node: Optional[ast.expr]) -> str:
    return ast.unparse(node) if node is not None else "None"


WRAPPED = {
    "Run": "Run(self._portal, {})",
    "Lease": "Lease(self._portal, {})",
    "EventStream": "EventStream(self._portal, {})",
}


def signature(function: ast.AST, name: str, returns: str) -> List[str]:
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    arguments = ast.unparse(function.args)
    line = f"    def {name}({arguments}) -> {returns}:"
    if len(line) <= 116:
        return [line]
    parts: List[str] = []
    args = function.args
    defaults = [None] * (len(args.args) - len(args.defaults)) + list(args.defaults)
    for argument, default in zip(args.args, defaults):
        parts.append(ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else ""))
    if args.vararg:
        parts.append("*" + ast.unparse(args.vararg))
    elif args.kwonlyargs:
        parts.append("*")
    for argument, default in zip(args.kwonlyargs, args.kw_defaults):
        parts.append(ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else ""))
    return [f"    def {name}(", *[f"        {part}," for part in parts], f"    ) -> {returns}:"]


def passed(function: ast.AST) -> str:
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    args = function.args
    given = [argument.arg for argument in args.args if argument.arg != "self"]
    if args.vararg:
        given.append("*" + args.vararg.arg)
    given += [f"{argument.arg}={argument.arg}" for argument in args.kwonlyargs]
    return ", ".join(given)


def sync(sources: List[str], types: str) -> str:
    """The synchronous face: each method of the asyncio client, waited for."""
    nodes = [node for source in sources for node in ast.parse(source).body]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name in ("Base", "Turnlane")]
    lines: List[str] = []
    for function in [function for one in classes for function in one.body]:
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or function.name.startswith("_"):
            continue
        if function.name in ("spawn", "start", "close"):
            continue
        returns = annotation(function.returns)
        call = f"self._client.{function.name}({passed(function)})"
        if any(isinstance(node, ast.Name) and node.id == "property" for node in function.decorator_list):
            lines += ["    @property"]
            body = f"self._client.{function.name}"
        elif isinstance(function, ast.AsyncFunctionDef):
            if returns.startswith("AsyncIterator"):
                returns = returns[len("Async") :]
                body = f"self._portal.iterate({call})"
            else:
                body = f"self._portal.wait({call})"
        elif returns == "RunHandle":
            body = call
        else:
            body = f"self._portal.call(lambda: {call})"
        if returns in WRAPPED:
            body = WRAPPED[returns].format(body)
        lines += signature(function, function.name, returns)
        doc = ast.get_docstring(function)
        if doc:
            described = doc.split("\n\n")[0].replace("\n", " ").replace("\\", "\\\\")
            lines += docstring(described, "        ")
        statement = f"        {'return ' if returns != 'None' else ''}{body}"
        if len(statement) > 116 and statement.endswith("))"):
            head, rest = statement.split(f".{function.name}(", 1)
            inner = textwrap.wrap(rest[:-2], 100)
            first, tail = head.rsplit("(", 1)
            lines += [f"{first}(", f"            {tail}.{function.name}("]
            lines += [f"                {part}" for part in inner]
            lines += ["            )", "        )"]
        else:
            lines.append(statement)
        lines.append("")
    template = (PACKAGE / "_sync.py").read_text(encoding="utf-8")
    names = sorted(set(re.findall(r"\b[A-Z]\w+\b", "\n".join(line for line in lines if '"""' not in line))))
    known_types = set(re.findall(r"^(?:class )?(\w+)(?: = |\()", types, re.M))
    imported = [name for name in names if name in known_types and name not in ("Any", "Dict")]
    typing_names = [
        name
        for name in ("Any", "Dict", "Iterable", "Iterator", "List", "Literal", "Mapping", "Optional", "Sequence", "Union")
        if name in names
    ]
    own = [name for name in ("EventStream", "Lease", "Run", "TurnlaneBase") if name in names or name == "TurnlaneBase"]
    assert "class TurnlaneBase" in template
    shown = ["from .types import ("] + [f"    {name}," for name in imported] + [")"]
    return "\n".join(
        [
            '"""The same without asyncio: every call waits. Generated by generate.py from client.py: do not edit.',
            "",
            "    from turnlane.sync import Turnlane",
            "",
            "    with Turnlane.spawn() as t:",
            '        t.open_session("demo", agent="sh")',
            '        run = t.prompt("demo", "make test")',
            "        for chunk in run:",
            '            print(chunk.text, end="")',
            "        done = run.result()",
            "",
            "The client runs in a thread of its own; its objects may be used from any thread.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            f"from typing import {', '.join(typing_names)}",
            "",
            f"from ._sync import {', '.join(own)}",
            "from ._wire import UNSET, Unset",
            "from .lease import Handler",
            *shown,
            "",
            f"__all__ = [{', '.join(chr(34) + name + chr(34) for name in [*own[:-1], 'Turnlane'])}]",
            "",
            "",
            "class Turnlane(TurnlaneBase):",
            '    """A client of one sidecar, for code that waits. See `turnlane.Turnlane`, whose methods these are."""',
            "",
            *lines[:-1],
            "",
        ]
    )


def made() -> Dict[str, str]:
    schema = json.loads((SCHEMA / "turnlane.schema.json").read_text(encoding="utf-8"))
    client = [(PACKAGE / name).read_text(encoding="utf-8") for name in ("_base.py", "client.py")]
    files = {"types.py": Types(schema).text(), "kinds.py": kinds(schema)}
    return {**files, "sync.py": sync(client, files["types.py"])}


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in made().items():
        path = PACKAGE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(("stale: " if check else "written: ") + (", ".join(stale) or "nothing"))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
