"""Runs the cases of `schema/examples/conformance.json` with this client. How they are read: `schema/examples/README.md`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Optional

from turnlane import HeartbeatPolicy, InboxPolicy, Question, Run, RunGroup, Turnlane, TurnlaneError, WakePolicy
from turnlane.types import DrainResult

CASES = Path(__file__).resolve().parents[3] / "schema" / "examples" / "conformance.json"
STEP_S = 60.0

Json = Any


class Deliberate(Exception):
    """The exception by which a lease's body fails."""


class Mismatch(AssertionError):
    """A result is not what was expected."""


def cases() -> List[Dict[str, Json]]:
    document = json.loads(CASES.read_text(encoding="utf-8"))
    assert document["format"] == 1, "another format of cases"
    found: List[Dict[str, Json]] = document["cases"]
    return found


# Matching.


def match(expected: Json, value: Json, where: str) -> None:
    """Raises `Mismatch` unless the value matches."""
    if isinstance(expected, dict) and any(key.startswith("$") for key in expected):
        for key, wanted in expected.items():
            if not holds(key, wanted, value):
                raise Mismatch(f"{where}: {shown(value)} does not hold {{{key}: {shown(wanted)}}}")
    elif isinstance(expected, dict):
        if not isinstance(value, dict):
            raise Mismatch(f"{where}: {shown(value)} is no object")
        for key, wanted in expected.items():
            if isinstance(wanted, dict) and wanted.get("$absent"):
                if value.get(key) is not None:
                    raise Mismatch(f"{where}.{key}: is there: {shown(value[key])}")
            else:
                match(wanted, value.get(key), f"{where}.{key}")
    elif isinstance(expected, list):
        if not isinstance(value, list) or len(value) != len(expected):
            raise Mismatch(f"{where}: {shown(value)} is no list of {len(expected)}")
        for number, (wanted, item) in enumerate(zip(expected, value)):
            match(wanted, item, f"{where}[{number}]")
    elif expected != value or isinstance(expected, bool) is not isinstance(value, bool):
        raise Mismatch(f"{where}: {shown(value)} is not {shown(expected)}")


def matches(expected: Json, value: Json) -> bool:
    try:
        match(expected, value, "")
    except Mismatch:
        return False
    return True


def holds(rule: str, wanted: Json, value: Json) -> bool:
    text = value if isinstance(value, str) else None
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    rules: Dict[str, Callable[[], bool]] = {
        "$min": lambda: number is not None and number >= wanted,
        "$max": lambda: number is not None and number <= wanted,
        "$contains": lambda: text is not None and wanted in text,
        "$startsWith": lambda: text is not None and text.startswith(wanted),
        "$endsWith": lambda: text is not None and text.endswith(wanted),
        "$minLength": lambda: text is not None and len(text) >= wanted,
        "$maxLength": lambda: text is not None and len(text) <= wanted,
        "$unordered": lambda: isinstance(value, list) and sorted(value) == sorted(wanted),
    }
    return rules[rule]()


def shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 400 else f"{text[:300]}… ({len(text)} characters)"


# Clients.


class Client:
    """A client of a case, and what it has handed out."""

    def __init__(self, t: Turnlane) -> None:
        self.t = t
        self.runs: Dict[str, Run] = {}
        self.read: Dict[str, Reader] = {}
        self.durable: List[Dict[str, Json]] = []
        self.questions: Dict[str, Dict[str, Json]] = {}
        self.heard = asyncio.Condition()
        self.option: Optional[str] = None
        self.listening = asyncio.ensure_future(self.listen())

    async def listen(self) -> None:
        async for event in self.t.events():
            async with self.heard:
                if event.durable:
                    self.durable.append(event.to_wire())
                permission = event.raw.get("permission")
                if event.method == "run/changed" and permission is not None:
                    self.questions[event.raw["runId"]] = permission
                self.heard.notify_all()

    def answer(self, question: Question) -> Optional[str]:
        return self.option

    async def until(self, ready: Callable[[], Json]) -> Json:
        async with self.heard:
            while not ready():
                if self.listening.done():
                    raise Mismatch("the stream of events has ended")
                await self.heard.wait()
            return ready()


class Reader:
    """What was read of a run's output."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.data = b""
        self.missed = 0
        self.end = 0
        self.in_order = True

    async def piece(self) -> bool:
        async for chunk in self.run:
            self.in_order = self.in_order and chunk.offset >= self.end
            self.end = chunk.offset + len(chunk.data)
            self.missed += chunk.missed
            self.data += chunk.data
            return True
        return False

    async def all(self) -> Dict[str, Json]:
        pieces = [self.data]
        async for chunk in self.run:
            self.in_order = self.in_order and chunk.offset >= self.end
            self.end = chunk.offset + len(chunk.data)
            self.missed += chunk.missed
            pieces.append(chunk.data)
        self.data = b"".join(pieces)
        return {
            "text": self.data.decode("utf-8", "replace"),
            "base64": base64.b64encode(self.data).decode("ascii"),
            "bytes": len(self.data),
            "missed": self.missed,
            "inOrder": self.in_order,
        }


# Cases.


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: "_" + found.group(1).lower(), name)


# The methods whose parameters are simply given by their names.
METHODS = {
    "session/open": "open_session",
    "session/close": "close_session",
    "session/get": "get_session",
    "session/list": "list_sessions",
    "session/wait": "wait_session",
    "cancel": "cancel",
    "run/get": "get_run",
    "run/list": "list_runs",
    "run/input": "run_input",
    "drain": "take",
    "drain/ack": "ack",
    "drain/release": "release",
    "drain/extend": "extend",
    "inbox/peek": "peek",
    "wake": "wake",
    "deadLetter/list": "list_dead_letters",
    "permission/respond": "respond",
    "subscribe": "subscribe",
    "events/replay": "replay",
    "agent/list": "list_agents",
    "stats": "stats",
    "shutdown": "shutdown",
}
POLICIES: Dict[str, Any] = {"wake": WakePolicy, "heartbeat": HeartbeatPolicy, "inbox": InboxPolicy, "until": RunGroup, "when": RunGroup}


class Case:
    """A case that is being run, in an empty folder."""

    def __init__(self, case: Dict[str, Json], folder: Path, binary: Optional[str]) -> None:
        self.case = case
        self.folder = folder
        self.binary = binary
        self.clients: Dict[str, Client] = {}
        self.results: Dict[str, Json] = {}
        self.begun: Dict[str, asyncio.Task[Json]] = {}

    async def run(self) -> None:
        sidecar = self.case.get("sidecar", {})
        (self.folder / "turnlane.toml").write_text(sidecar.get("config", ""), encoding="utf-8")
        try:
            await self.steps(self.case["steps"], {})
        finally:
            for task in self.begun.values():
                task.cancel()
            for client in self.clients.values():
                await client.t.close()
                await asyncio.wait([client.listening])
            # One that owned the store stayed for those after it; the folder is theirs until all are gone.
            for client in self.clients.values():
                link = client.t._core._link
                if link is not None:
                    await asyncio.wait([link.exited])

    async def client(self, name: str) -> Client:
        if name not in self.clients:
            t = Turnlane.spawn(
                binary=self.binary,
                store=self.folder / "store",
                config=self.folder / "turnlane.toml",
                on_permission=lambda question: self.clients[name].answer(question),
            )
            await t.start()
            self.clients[name] = Client(t)
            await asyncio.sleep(0)  # its listener has begun
        return self.clients[name]

    async def steps(self, steps: List[Dict[str, Json]], variables: Dict[str, str]) -> None:
        for number, step in enumerate(steps):
            where = f"step {number}, {step['do']}"
            try:
                await asyncio.wait_for(self.step(step, variables, where), STEP_S)
            except asyncio.TimeoutError:
                raise Mismatch(f"{where}: not done within {STEP_S:.0f} s") from None

    async def step(self, step: Dict[str, Json], variables: Dict[str, str], where: str) -> None:
        given = self.value(step.get("with", {}), variables)
        client = await self.client(step.get("client", "main")) if step["do"] not in ("join", "giveUp", "repeat") else None
        work = self.operation(step, given, client, variables)
        if step.get("later"):
            self.begun[step["as"]] = asyncio.ensure_future(work)
            await asyncio.sleep(0)  # its request has been written
            return
        try:
            result = await work
        except TurnlaneError as error:
            if "error" not in step:
                raise Mismatch(f"{where}: refused: {error!r} {error.data}") from error
            told = {"kind": error.kind, "code": error.code, "data": error.data, "message": error.message}
            match(self.value(step["error"], variables), told, where)
            if error.kind is not None and type(error).__name__.lower() != f"{error.kind}Error".lower():
                raise Mismatch(f"{where}: {type(error).__name__} for {error.kind}") from None
            return
        if "error" in step:
            raise Mismatch(f"{where}: not refused: {shown(result)}")
        if "as" in step:
            self.results[step["as"]] = result
        if "expect" in step:
            match(self.value(step["expect"], variables), result, where)

    def value(self, raw: Json, variables: Dict[str, str]) -> Json:
        """A value with its references filled in."""
        if isinstance(raw, str):
            for name, text in variables.items():
                raw = raw.replace("${" + name + "}", text)
            return raw
        if isinstance(raw, list):
            return [self.value(item, variables) for item in raw]
        if isinstance(raw, dict):
            if "$ref" in raw:
                found: Json = self.results
                for part in raw["$ref"].split("."):
                    found = found[int(part)] if isinstance(found, list) else found[part]
                return found
            if "$repeat" in raw:
                text, times = raw["$repeat"]
                return str(text) * int(times)
            return {key: self.value(item, variables) for key, item in raw.items()}
        return raw

    async def operation(self, step: Dict[str, Json], given: Dict[str, Json], client: Optional[Client], variables: Dict[str, str]) -> Json:
        name: str = step["do"]
        if name == "join":
            return await self.begun[given["step"]]
        if name == "giveUp":
            return await self.give_up(self.begun[given["step"]])
        if name == "repeat":
            for number in range(given["times"]):
                await self.steps(step["steps"], {**variables, "i": str(number)})
            return None
        assert client is not None
        if name == "lease":
            return await self.lease(step, given, client, variables)
        if name in METHODS:
            return await self.method(METHODS[name], given, client.t)
        own: Dict[str, Callable[[Client, Dict[str, Json]], Awaitable[Json]]] = {
            "hello": self.hello,
            "prompt": self.prompt,
            "run/wait": self.wait,
            "deadLetter/retry": self.dead_letters,
            "deadLetter/purge": self.dead_letters,
            "completion": self.completion,
            "output": self.output,
            "readUntil": self.read_until,
            "question": self.question,
            "answerQuestions": self.answer_questions,
            "events": self.events,
            "kill": self.kill,
            "leave": self.leave,
        }
        if name.startswith("deadLetter/"):
            given = {**given, "_method": name}
        return await own[name](client, given)

    async def method(self, name: str, given: Dict[str, Json], t: Turnlane) -> Json:
        typed = {
            snake(key): POLICIES[key].from_wire(value) if key in POLICIES and isinstance(value, dict) else value
            for key, value in given.items()
        }
        result = await getattr(t, name)(**typed)
        return result.to_wire() if result is not None else None

    async def hello(self, client: Client, given: Dict[str, Json]) -> Json:
        return client.t.hello.to_wire()

    async def prompt(self, client: Client, given: Dict[str, Json]) -> Json:
        run = await client.t.prompt(**{snake(key): value for key, value in given.items()})
        client.runs[run.run_id] = run
        client.read[run.run_id] = Reader(run)
        assert run.accepted is not None
        return run.accepted.to_wire()

    async def wait(self, client: Client, given: Dict[str, Json]) -> Json:
        runs = given.pop("runIds", None) or [given.pop("runId")]
        return (await client.t.wait(*runs, **{snake(key): value for key, value in given.items()})).to_wire()

    async def dead_letters(self, client: Client, given: Dict[str, Json]) -> Json:
        name = given.pop("_method").split("/")[1]
        runs = given.pop("runIds", [])
        return (await getattr(client.t, f"{name}_dead_letters")(*runs, **given)).to_wire()

    async def completion(self, client: Client, given: Dict[str, Json]) -> Json:
        return (await client.runs[given["runId"]]).to_wire()

    async def output(self, client: Client, given: Dict[str, Json]) -> Json:
        return await client.read[given["runId"]].all()

    async def read_until(self, client: Client, given: Dict[str, Json]) -> Json:
        reader = client.read[given["runId"]]
        while given["text"].encode() not in reader.data:
            if not await reader.piece():
                raise Mismatch(f"the output of {given['runId']} ended: {reader.data!r}")
        return None

    async def question(self, client: Client, given: Dict[str, Json]) -> Json:
        return await client.until(lambda: client.questions.get(given["runId"]))

    async def answer_questions(self, client: Client, given: Dict[str, Json]) -> Json:
        client.option = given["optionId"]
        return None

    async def events(self, client: Client, given: Dict[str, Json]) -> Json:
        last = await client.until(lambda: next((one for one in client.durable if matches(given["until"], one)), None))
        ended = [one["params"]["runId"] for one in client.durable if one["method"] == "run/completed"]
        return {"runIds": ended, "last": last}

    async def lease(self, step: Dict[str, Json], given: Dict[str, Json], client: Client, variables: Dict[str, str]) -> Json:
        typed = {snake(key): POLICIES[key].from_wire(value) if key in POLICIES else value for key, value in given.items()}
        taken: List[DrainResult] = []
        try:
            async with client.t.drain(**typed) as batch:
                taken.append(batch.taken)
                await self.steps(step["steps"], variables)
                if step.get("fails"):
                    raise Deliberate
        except Deliberate:
            pass
        return taken[0].to_wire()

    async def give_up(self, task: asyncio.Task[Json]) -> Json:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            raise Mismatch(f"it was not cancelled: {task!r}")
        return None

    async def kill(self, client: Client, given: Dict[str, Json]) -> Json:
        link = client.t._core._link
        assert link is not None
        os.kill(link.pid, signal.SIGKILL)
        await asyncio.wait([link.exited])
        return None

    async def leave(self, client: Client, given: Dict[str, Json]) -> Json:
        await client.t.close()
        return None
