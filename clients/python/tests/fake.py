"""A stand-in for the sidecar that misbehaves as a test tells it. `fake.py FOLDER stdio …` plays `FOLDER/scenario.json`.

A scenario is a list of lives (the last one is played again), a life maps methods to what is done at their first, second, … request (the last one again):
a list of acts, done in order: `{"result": …}`, `{"error": …}`, `{"say": object}`, `{"raw": text}`, `"die"`, `"stop"`, `"silence"`, `"deaf"` (to its end and to SIGTERM),
`id` beside a result answers another request. What it reads is in `FOLDER/received.jsonl`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Dict, List

STORE = "01900000-0000-7000-8000-000000000000"
HELLO = {
    "serverInfo": {"name": "turnlane", "version": "0.1.0"},
    "protocolVersion": 1,
    "instanceId": "x",
    "role": "owner",
    "store": "/nowhere",
    "durability": "full",
    "cursor": f"{STORE}:0",
    "resumed": True,
    "agents": [],
    "limits": {"leaseMs": 30000},
}
USUAL: Dict[str, List[List[Any]]] = {
    "initialize": [[{"result": HELLO}]],
    "subscribe": [[{"result": None}]],
    "stats": [[{"result": {"role": "owner", "clients": 1}}]],
    "session/get": [[{"result": {"state": "idle"}}]],
}


def say(message: Any) -> None:
    text = message if isinstance(message, str) else json.dumps({"jsonrpc": "2.0", **message})
    sys.stdout.buffer.write(text.encode("utf-8") + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    folder = Path(sys.argv[1])
    received = folder / "received.jsonl"
    lives = folder / "lives"
    life = int(lives.read_text()) if lives.exists() else 0
    lives.write_text(str(life + 1))
    scenario = json.loads((folder / "scenario.json").read_text(encoding="utf-8"))
    played: Dict[str, Any] = {**USUAL, **scenario[min(life, len(scenario) - 1)]}
    counts: Dict[str, int] = {}
    deaf = False
    for line in sys.stdin:
        message = json.loads(line)
        with received.open("a", encoding="utf-8") as book:
            book.write(json.dumps({"life": life, **message}) + "\n")
        method = message["method"]
        acts = played.get(method, [["silence"]])
        number = counts.get(method, 0)
        counts[method] = number + 1
        for act in acts[min(number, len(acts) - 1)]:
            if act == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            elif act == "stop":
                sys.exit(0)
            elif act == "silence":
                continue
            elif act == "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                deaf = True
            elif "raw" in act:
                say(act["raw"])
            elif "say" in act:
                say(act["say"])
            else:
                say({"id": act.pop("id", message.get("id")), **act})
    while deaf:
        signal.pause()


if __name__ == "__main__":
    main()
