"""What is generated is fresh, and the client knows all of the protocol."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Dict, Set

import turnlane.sync
from turnlane import Turnlane, errors, types
from turnlane._wire import _shapes
from turnlane.kinds import KINDS

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT.parents[1] / "schema"

# Which method of the client asks which method of the protocol, and how its parameters are called where not by their own name.
METHODS: Dict[str, str] = {
    "prompt": "prompt",
    "cancel": "cancel",
    "run/wait": "wait",
    "run/get": "get_run",
    "run/list": "list_runs",
    "run/output": "run_output",
    "run/input": "run_input",
    "session/open": "open_session",
    "session/close": "close_session",
    "session/get": "get_session",
    "session/list": "list_sessions",
    "session/wait": "wait_session",
    "drain": "take",
    "drain/ack": "ack",
    "drain/release": "release",
    "drain/extend": "extend",
    "inbox/peek": "peek",
    "deadLetter/list": "list_dead_letters",
    "deadLetter/retry": "retry_dead_letters",
    "deadLetter/purge": "purge_dead_letters",
    "wake": "wake",
    "permission/respond": "respond",
    "subscribe": "subscribe",
    "events/replay": "replay",
    "agent/list": "list_agents",
    "stats": "stats",
    "shutdown": "shutdown",
}
# `initialize`, `exit` and `$/cancelRequest` are what starting, closing and cancelling a task come to.
OWN = {"initialize", "exit", "$/cancelRequest"}
RENAMED = {("run/wait", "runId"): "run_ids", ("run/output", "from"): "from_"}


def snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


@unittest.skipUnless(SCHEMA.exists(), f"{SCHEMA} is not there: an installed sdist has no schema beside it")
class Schema(unittest.TestCase):
    def openrpc(self) -> Dict[str, Any]:
        document: Dict[str, Any] = json.loads((SCHEMA / "openrpc.json").read_text(encoding="utf-8"))
        return document

    def test_what_is_generated_is_fresh(self) -> None:
        done = subprocess.run([sys.executable, str(ROOT / "generate.py"), "--check"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "stale: nothing\n"), "run: python generate.py")

    def test_every_method_can_be_asked_with_every_parameter(self) -> None:
        methods = {one["name"]: one for one in self.openrpc()["methods"]}
        self.assertEqual(set(methods) - OWN, set(METHODS))
        for face in (Turnlane, turnlane.sync.Turnlane):
            for name, own in METHODS.items():
                taken = set(inspect.signature(getattr(face, own)).parameters)
                wanted = {RENAMED.get((name, one["name"]), snake(one["name"])) for one in methods[name]["params"]}
                self.assertLessEqual(wanted, taken, f"{face.__module__}: {own} ({name})")

    def test_every_kind_of_error_has_an_exception_of_its_own(self) -> None:
        kinds = set(self.openrpc()["components"]["errors"])
        named = {kind for kind in kinds if not kind.startswith(("-", "json"))}
        self.assertLessEqual({one for one in named if one in KINDS}, set(KINDS))
        schema = json.loads((SCHEMA / "turnlane.schema.json").read_text(encoding="utf-8"))["$defs"]
        wanted: Set[str] = {branch["$ref"].rsplit("/", 1)[1] for branch in schema["Error"]["anyOf"]} - {"JsonRpcError"}
        self.assertEqual({one.__name__ for one in KINDS.values()}, wanted)
        self.assertLessEqual(wanted, set(errors.__all__))

    def test_every_notification_has_a_class(self) -> None:
        self.assertEqual({one["name"] for one in self.openrpc()["x-notifications"]}, set(types.NOTIFICATIONS))

    def test_version_and_licence_are_turnlanes(self) -> None:
        cargo = (ROOT.parents[1] / "Cargo.toml").read_text(encoding="utf-8")
        self.assertIn(f'\nversion = "{turnlane.__version__}"\n', cargo)
        self.assertEqual((ROOT / "LICENSE").read_bytes(), (ROOT.parents[1] / "LICENSE").read_bytes())


class Faces(unittest.TestCase):
    def test_the_synchronous_face_has_all_that_the_other_has(self) -> None:
        def public(face: type) -> Set[str]:
            return {name for name in dir(face) if not name.startswith("_")}

        self.assertEqual(public(Turnlane) - {"on_permission"}, public(turnlane.sync.Turnlane))

    def test_what_is_read_is_what_was_written(self) -> None:
        completion = types.Completion(
            accepted_at=1, ended_at=2, kind="wake", outcome="failed", run_id="r", seq=3, session_id="s", text="x", truncated=False,
            error=types.RunError(kind="agent", message="no"), wake=types.WakeFacts(reason="why", run_ids=["a"]),
        )  # fmt: skip
        wire = completion.to_wire()
        self.assertEqual(wire["wake"], {"reason": "why", "runIds": ["a"]})
        self.assertEqual(types.Completion.from_wire({**wire, "unknown": 1}), completion)
        self.assertNotIn("exitCode", wire)

    def test_every_class_is_frozen_and_has_a_shape(self) -> None:
        for klass in types.SHAPES:
            self.assertIn(klass, _shapes)
            params: Any = vars(klass)["__dataclass_params__"]
            self.assertTrue(params.frozen)


class Statuses(unittest.TestCase):
    def test_an_exit_status_is_that_of_turnlane_run(self) -> None:
        for outcome, code, status in (
            ("completed", None, 0),
            ("completed", 3, 3),
            ("failed", None, 1),
            ("failed", 7, 7),
            ("cancelled", 143, 130),
            ("timedOut", 137, 124),
            ("exited", 9, 9),
            ("interrupted", None, 125),
            ("folded", None, 125),
        ):
            done = types.Completion.from_wire(
                {
                    "acceptedAt": 1,
                    "endedAt": 1,
                    "kind": "prompt",
                    "outcome": outcome,
                    "runId": "r",
                    "seq": 1,
                    "sessionId": "s",
                    "text": "",
                    "truncated": False,
                    "exitCode": code,
                }
            )
            self.assertEqual(done.exit_status, status, outcome)


if __name__ == "__main__":
    unittest.main()
