"""What the tests share."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional

from turnlane import Turnlane

BINARY: Optional[str] = os.environ.get("TURNLANE_BIN")

# Whoever starts the tests in the background may ignore Ctrl-C, here and in all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


class ClientCase(unittest.IsolatedAsyncioTestCase):
    """A test with an empty folder, and clients whose store is in it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.config = self.folder / "turnlane.toml"
        self.config.write_text("", encoding="utf-8")

    def client(self, **options: Any) -> Turnlane:
        """A client that is not started."""
        return Turnlane.spawn(**{"binary": BINARY, "store": self.folder / "store", "config": self.config, **options})


class FakeCase(ClientCase):
    """A test with a sidecar that misbehaves: see `fake.py`."""

    def play(self, *lives: Dict[str, Any], **options: Any) -> Turnlane:
        """A client, not started, of a sidecar that plays these lives."""
        (self.folder / "scenario.json").write_text(json.dumps(lives), encoding="utf-8")
        program = self.folder / "turnlane"
        fake = Path(__file__).with_name("fake.py")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "{self.folder}" "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        return Turnlane.spawn(binary=program, **options)

    def received(self, *methods: str, life: Optional[int] = None) -> List[Dict[str, Any]]:
        """What the sidecar has read of these methods, in all its lives or in one."""
        path = self.folder / "received.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        messages = [json.loads(line) for line in lines]
        return [one for one in messages if (not methods or one["method"] in methods) and life in (None, one["life"])]


def accepted(run_id: str, seq: int = 1, **more: Any) -> Dict[str, Any]:
    """An answer to `prompt`."""
    return {"result": {"runId": run_id, "sessionId": "s", "seq": seq, "state": "active", "position": 0, "duplicate": False, **more}}


def completed(run_id: str, number: int, **more: Any) -> Dict[str, Any]:
    """A `run/completed`."""
    params = {
        "runId": run_id,
        "sessionId": "s",
        "kind": "prompt",
        "seq": number,
        "outcome": "completed",
        "text": "",
        "truncated": False,
        "acceptedAt": 1,
        "startedAt": 1,
        "endedAt": 2,
        "cursor": f"01900000-0000-7000-8000-000000000000:{number}",
        **more,
    }
    return {"say": {"method": "run/completed", "params": params}}


def refused(kind: str, code: int = -32012, **data: Any) -> Dict[str, Any]:
    """An error of turnlane's."""
    return {"error": {"code": code, "message": f"it is {kind}", "data": {"kind": kind, **data}}}
