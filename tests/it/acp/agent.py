#!/usr/bin/env python3
"""A scripted agent that speaks the Agent Client Protocol, version 1, over its standard input and output.

The text of a prompt is a script, one directive a line; a line that is none is said as it is. The directives
are the methods `do_…` of `Turn`. Flags decide what happens before the first prompt. Everything that is received
goes to `--record FILE`, one JSON object a line, and so does whatever a client must not do (`"broken": …`): tests read it.
"""

import argparse
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time


def arguments():
    flags = argparse.ArgumentParser()
    say = flags.add_argument
    say("--record", help="where everything that happens is noted")
    say("--home", help="a folder that keeps sessions beyond this process, for load and resume")
    say("--start", default="well", help="well | mute | garbage | exit:CODE:STDERR | crash:METHOD")
    say("--version", type=int, default=1, help="the protocol version that it answers")
    say("--auth", help="the id of the only method that lets anybody in")
    say("--no-methods", action="store_true", help="tells nobody how to log in")
    say("--load", action="store_true", help="offers session/load")
    say("--resume", action="store_true", help="offers session/resume")
    say("--load-fails", action="store_true", help="refuses every load and resume")
    say("--resume-fails", action="store_true", help="refuses every resume")
    say("--load-mute", action="store_true", help="never answers a load or resume")
    say("--new-fails", action="store_true", help="refuses session/new")
    say("--new-until", help="answers session/new only when this file exists")
    say("--one-id", help="the id of every session that it begins")
    say("--no-blocks", action="store_true", help="takes text only")
    say("--stubborn", action="store_true", help="survives the end of its input and ignores SIGTERM")
    return flags.parse_args()


class Client:
    """The other end of the pipes."""

    def __init__(self, flags):
        self.flags, self.lock, self.next, self.asked = flags, threading.Lock(), 0, {}

    def note(self, **what):
        """Notes something where tests can read it; one write a line, so that several agents can share a file."""
        if self.flags.record:
            line = json.dumps({"pid": os.getpid(), "at": time.monotonic(), **what}) + "\n"
            to = os.open(self.flags.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(to, line.encode())
            os.close(to)

    def raw(self, data):
        """Writes bytes, whatever they are."""
        with self.lock:
            while data:
                try:
                    data = data[os.write(1, data):]
                except OSError:
                    return

    def send(self, message):
        self.raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    def answer(self, ident, result):
        self.send({"id": ident, "result": result})
    def refuse(self, ident, code, message, data=None):
        error = {"code": code, "message": message}
        self.send({"id": ident, "error": error if data is None else {**error, "data": data}})

    def ask(self, method, params):
        """Sends a request; the queue where its answer will be."""
        with self.lock:
            self.next += 1
            ident = f"agent-{self.next}"
            self.asked[ident] = answer = queue.Queue()
        self.send({"id": ident, "method": method, "params": params})
        return answer

    def answered(self, message):
        with self.lock:
            answer = self.asked.pop(message["id"], None)
        if answer is None:
            self.note(broken="an answer that nobody asked for", message=message)
        else:
            answer.put(message)


class Over(Exception):
    """The script is over; `how` is what answers the prompt, `None` for no answer."""

    def __init__(self, how):
        self.how = how


class Session:
    """A conversation: at most one prompt is in flight in it."""

    def __init__(self, ident, cwd):
        self.ident, self.cwd, self.turn = ident, cwd, None
        self.mode, self.model, self.memory = "careful", "small", None

    def options(self):
        select = {"type": "select", "options": [{"value": name, "name": name} for name in ("small", "large")]}
        return [{"id": "model", "name": "Model", "category": "model", "currentValue": self.model, **select}]
    def modes(self):
        modes = [{"id": name, "name": name} for name in ("careful", "bold")]
        return {"currentModeId": self.mode, "availableModes": modes}


class Turn:
    """One prompt, played from its first directive to its answer."""

    def __init__(self, client, session, ident, params):
        self.client, self.session, self.ident, self.params = client, session, ident, params
        self.cancelled, self.deaf, self.on_cancel, self.usage, self.after = threading.Event(), False, "cancelled", None, []

    def play(self):
        texts = [block["text"] for block in self.params["prompt"] if block["type"] == "text"]
        try:
            for line in "\n".join(texts).splitlines():
                word, _, rest = line.strip().partition(" ")
                act = getattr(self, "do_" + word.replace("-", "_"), None)
                act(rest) if act else self.do_say(line)
                self.heed()
            how = {"stopReason": "end_turn"}
        except Over as over:
            how = over.how
        if how is None:
            return
        # Whoever reads the answer may send the next prompt.
        self.session.turn = None
        if "error" in how:
            self.client.send({"id": self.ident, **how})
        else:
            self.client.answer(self.ident, how if self.usage is None else {**how, "usage": self.usage})
        for act, rest in self.after:
            act(rest)

    def heed(self):
        if self.cancelled.is_set() and not self.deaf:
            raise Over({"stopReason": self.on_cancel})

    def until(self, what, seconds=3600.0):
        """Waits for something, or for a cancel that is heeded."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not what():
            self.heed()
            time.sleep(0.005)

    def update(self, update):
        self.client.send({"method": "session/update", "params": {"sessionId": self.session.ident, "update": update}})
    def chunk(self, content, kind="agent_message_chunk"):
        self.update({"sessionUpdate": kind, "content": content})

    def request(self, method, **params):
        """Asks the client and waits for its answer, or for a cancel."""
        answer = self.client.ask(method, {"sessionId": self.session.ident, **params})
        self.until(lambda: not answer.empty())
        return answer.get()

    # What is said.
    def do_say(self, rest):
        """say TEXT: a message chunk, with a line end."""
        self.chunk({"type": "text", "text": rest + "\n"})
    def do_think(self, rest):
        self.chunk({"type": "text", "text": rest}, "agent_thought_chunk")
    def do_tool(self, rest):
        """tool ID: a tool call begins."""
        self.update({"sessionUpdate": "tool_call", "toolCallId": rest, "title": "Edit", "kind": "edit", "status": "in_progress"})
    def do_done(self, rest):
        """done ID: a tool call is over."""
        self.update({"sessionUpdate": "tool_call_update", "toolCallId": rest, "status": "completed"})
    def do_update(self, rest):
        """update JSON: any update, as it is."""
        self.update(json.loads(rest))
    def do_big(self, rest):
        """big BYTES [KIND]: one chunk of this size, of a message or of another kind."""
        count, _, kind = rest.partition(" ")
        self.chunk({"type": "text", "text": "x" * int(count)}, kind or "agent_message_chunk")
    def do_env(self, rest):
        self.do_say(f"{rest}={os.environ.get(rest, '(unset)')}")
    def do_show(self, _):
        """show: where and as whom it works."""
        self.do_say(f"mode {self.session.mode}, model {self.session.model}, session {self.session.ident}, cwd {self.session.cwd}, in {os.getcwd()}")
    def do_remember(self, rest):
        """remember WORD: for `recall`, also after a load in another process."""
        self.session.memory.open("a").write(rest + "\n")
    def do_recall(self, _):
        self.do_say("I recall " + (" ".join(self.session.memory.read_text().split()) or "nothing"))

    # What is waited for.
    def do_sleep(self, rest):
        self.until(lambda: False, int(rest) / 1000)
    def do_hold(self, rest):
        """hold [FILE]: until the file is there, or a cancel that is heeded."""
        self.until(lambda: os.path.exists(rest))
    def do_mind(self, _):
        """mind: until the cancel has come that this turn ignores."""
        self.cancelled.wait()

    # How it ends.
    def do_tokens(self, rest):
        """tokens IN OUT: what the answer tells of usage."""
        read, written = map(int, rest.split())
        self.usage = {"totalTokens": read + written, "inputTokens": read, "outputTokens": written}
    def do_stop(self, rest):
        """stop REASON: this stop reason, known or not. stop JSON: this answer, whatever it is."""
        raise Over(json.loads(rest) if rest.startswith("{") else {"stopReason": rest})
    def do_stop_large(self, rest):
        """stop-large BYTES: an answer of at least this size."""
        raise Over({"stopReason": "end_turn", "_meta": {"pad": "x" * int(rest)}})
    def do_error(self, rest):
        """error CODE MESSAGE [| DATA]: a JSON-RPC error."""
        code, _, message = rest.partition(" ")
        message, _, data = message.partition(" | ")
        error = {"code": int(code), "message": message}
        raise Over({"error": {**error, "data": data} if data else error})
    def do_silent(self, _):
        """silent: the turn is never answered."""
        raise Over(None)
    def do_ignore_cancel(self, _):
        self.deaf = True
    def do_cancel_as(self, rest):
        """cancel-as REASON: answers a cancel with this."""
        self.on_cancel = rest
    def do_exit(self, rest):
        os._exit(int(rest))
    def do_die(self, rest):
        """die SIGNAL: kills itself."""
        os.kill(os.getpid(), getattr(signal, rest))
        threading.Event().wait()

    def do_later(self, rest):
        """later DIRECTIVE: does it after the answer."""
        word, _, more = rest.partition(" ")
        self.after.append((getattr(self, "do_" + word.replace("-", "_")), more))
    def do_answer(self, rest):
        """answer [ID]: answers a prompt, this one or that of an id; for `later`: a second answer."""
        self.client.answer(rest or self.ident, {"stopReason": "end_turn"})

    # What nobody should say.
    def do_raw(self, rest):
        """raw TEXT: a line as it is."""
        self.client.raw(rest.encode() + b"\n")
    def do_garbage(self, rest):
        self.client.raw(os.urandom(int(rest)) + b"\n")
    def do_long(self, rest):
        """long BYTES: one line of this length that is no message."""
        self.client.raw(b'{"jsonrpc":"2.0","method":"session/update","params":"')
        for _ in range(int(rest) >> 16):
            self.client.raw(b"x" * (1 << 16))
        self.client.raw(b'"}\n')
    def do_stderr(self, rest):
        os.write(2, rest.encode() + b"\n")
    def do_stderr_flood(self, rest):
        """stderr-flood BYTES: lines on standard error."""
        sys.stderr.write(("noise " * 13 + "\n") * (int(rest) // 79))
        sys.stderr.flush()
    def do_child(self, _):
        """child: a child that outlives its parent and ignores every polite signal."""
        program = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(1000)"
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
        child.stdout.readline()
        self.do_say(f"child {child.pid}")

    # What is asked of the client.
    def do_ask(self, rest):
        """ask TITLE [| ID:KIND ID:KIND]: asks for permission and says what came."""
        self.do_say("told " + self.permitted(self.permission(rest)))
    def do_ask_twice(self, rest):
        """ask-twice TITLE: two requests at once; their answers in the order of the requests."""
        both = [self.permission(f"{rest} {number}") for number in ("one", "two")]
        self.do_say("told " + " and ".join(self.permitted(answer) for answer in both))

    def do_withdraw(self, rest):
        """withdraw FILE: asks for permission, and gives the question up itself once the file is there."""
        answer = self.permission("may I")
        self.do_hold(rest)
        self.client.send({"method": "$/cancel_request", "params": {"requestId": f"agent-{self.client.next}"}})
        self.do_say("told " + self.permitted(answer))

    def permission(self, rest):
        title, _, wanted = rest.partition(" | ")
        pairs = [pair.split(":") for pair in (wanted or "yes:allow_once always:allow_always no:reject_once").split()]
        options = [{"optionId": ident, "name": ident.capitalize(), "kind": kind} for ident, kind in pairs]
        call = {"toolCallId": "call-" + title, "title": title, "kind": "execute", "status": "pending"}
        return self.client.ask("session/request_permission", {"sessionId": self.session.ident, "toolCall": call, "options": options})

    def permitted(self, answer):
        # A cancel answers it, so it is waited for even then.
        message = answer.get()
        outcome = message.get("result", {}).get("outcome", {})
        self.client.note(permission=outcome, message=message)
        return outcome.get("optionId") or outcome.get("outcome") or json.dumps(message)

    def do_sync(self, _):
        """sync: until the client has read all that was said."""
        self.request("who/knows")
    def do_call(self, rest):
        """call METHOD [JSON]: any request of this session; says what came."""
        method, _, params = rest.partition(" ")
        self.tell(self.request(method, **json.loads(params or "{}")))

    def do_flood(self, rest):
        """flood COUNT METHOD JSON: so many such requests at once; says what came of the last."""
        count, method, params = rest.split(" ", 2)
        params = {"sessionId": self.session.ident, **json.loads(params)}
        self.tell([self.client.ask(method, params) for _ in range(int(count))][-1].get())

    def do_run(self, rest):
        """run JSON: a terminal with these parameters, to its end."""
        made = self.request("terminal/create", **json.loads(rest))
        if "error" in made:
            return self.tell(made)
        terminal = {"terminalId": made["result"]["terminalId"]}
        exited = self.request("terminal/wait_for_exit", **terminal)["result"]
        output = self.request("terminal/output", **terminal)["result"]
        self.request("terminal/release", **terminal)
        self.do_say("ran " + json.dumps({"exit": exited, **output}, sort_keys=True))

    def tell(self, message):
        if "error" in message:
            self.do_say("refused {code} {0}".format(json.dumps(message["error"]), **message["error"]))
        else:
            self.do_say("got " + json.dumps(message["result"]))


class Agent:
    """Answers the client's requests."""

    def __init__(self, flags):
        self.flags, self.client = flags, Client(flags)
        self.sessions, self.trusted = {}, flags.auth is None

    def serve(self):
        note, how = self.client.note, self.flags.start.partition(":")
        note(started=True, environment={name: text for name, text in os.environ.items() if name.startswith("TURNLANE")})
        if self.flags.stubborn:
            signal.signal(signal.SIGTERM, lambda *_: note(ignored="SIGTERM"))
        if how[0] == "exit":
            code, _, words = how[2].partition(":")
            os.write(2, words.encode() + b"\n")
            os._exit(int(code))
        if how[0] == "garbage":
            self.client.raw(b"Welcome!\n\n{\"level\":\"info\",\"msg\":\"starting\"}\n[1]\n{\n\xff\xfe\x00\n" + os.urandom(5000) + b"\n")
        for line in sys.stdin.buffer:
            if line.strip():
                self.hear(json.loads(line))
        note(end_of_input=True)
        while self.flags.stubborn:
            time.sleep(1000)
        os._exit(0)

    def hear(self, message):
        self.client.note(**{"received": message})
        if "method" not in message:
            return self.client.answered(message)
        method, params, ident = message["method"], message.get("params") or {}, message.get("id")
        start, _, where = self.flags.start.partition(":")
        if start == "mute":
            return None
        if start == "crash" and where == method:
            os._exit(7)
        act = getattr(self, "on_" + method.replace("/", "_"), None)
        if act:
            return act(ident, params)
        return ident is not None and self.client.refuse(ident, -32601, "Method not found")

    def on_initialize(self, ident, _):
        blocks = not self.flags.no_blocks
        can = {"loadSession": self.flags.load, "promptCapabilities": {"image": blocks, "audio": False, "embeddedContext": blocks}}
        if self.flags.resume:
            can["sessionCapabilities"] = {"resume": {}}
        methods = [{"id": "key", "name": "API key", "description": "Set FAKE_API_KEY"}, {"id": "login", "name": "Log in"}] * (not self.flags.no_methods)
        info = {"name": "scripted", "version": "1"}
        self.client.answer(ident, {"protocolVersion": self.flags.version, "agentCapabilities": can, "authMethods": methods, "agentInfo": info})

    def on_authenticate(self, ident, params):
        self.trusted = self.trusted or params["methodId"] == self.flags.auth
        if self.trusted:
            self.client.answer(ident, {})
        else:
            self.client.refuse(ident, -32603, f"{params['methodId']} does not work here")

    def on_session_new(self, ident, params):
        if not self.trusted:
            return self.client.refuse(ident, -32000, "Authentication required")
        if self.flags.new_fails:
            return self.client.refuse(ident, -32603, "Internal error", {"details": "no room for a session"})
        session = self.flags.one_id or f"conversation-{os.getpid()}-{len(self.sessions) + 1}"
        return self.opened(ident, session, params, self.flags.new_until, sessionId=session)

    def on_session_load(self, ident, params):
        return self.continued(ident, params, self.flags.load, replay=True)
    def on_session_resume(self, ident, params):
        if self.flags.resume_fails:
            return self.client.refuse(ident, -32603, "Internal error")
        return self.continued(ident, params, self.flags.resume, replay=False)

    def continued(self, ident, params, offered, replay):
        session, home = params["sessionId"], self.flags.home
        if self.flags.load_mute:
            return None
        if not offered:
            self.client.note(broken="what is not offered was asked for", message=params)
        if self.flags.load_fails or not (home and os.path.exists(os.path.join(home, session))):
            return self.client.refuse(ident, -32002, f"Resource not found: {session}")
        if replay:
            for kind in ("user_message_chunk", "agent_message_chunk", "agent_thought_chunk"):
                update = {"sessionUpdate": kind, "content": {"type": "text", "text": "said long ago\n"}}
                self.client.send({"method": "session/update", "params": {"sessionId": session, "update": update}})
        return self.opened(ident, session, params, None)

    def opened(self, ident, name, params, gate, **more):
        self.sessions[name] = session = Session(name, params["cwd"])
        if self.flags.home:
            session.memory = pathlib.Path(self.flags.home, name)
            session.memory.touch()

        def answer():
            while gate and not os.path.exists(gate):
                time.sleep(0.005)
            self.client.answer(ident, {**more, "modes": session.modes(), "configOptions": session.options()})

        threading.Thread(target=answer, daemon=True).start()

    def on_session_set_mode(self, ident, params):
        if params["modeId"] not in ("careful", "bold"):
            return self.client.refuse(ident, -32602, f"there is no mode {params['modeId']}")
        self.sessions[params["sessionId"]].mode = params["modeId"]
        return self.client.answer(ident, {})

    def on_session_set_config_option(self, ident, params):
        if params["configId"] != "model" or params["value"] not in ("small", "large"):
            return self.client.refuse(ident, -32602, f"there is no {params['configId']} {params['value']}")
        session = self.sessions[params["sessionId"]]
        session.model = params["value"]
        return self.client.answer(ident, {"configOptions": session.options()})

    def on_session_prompt(self, ident, params):
        session = self.sessions.get(params["sessionId"])
        if session is None:
            return self.client.refuse(ident, -32002, "Resource not found")
        if session.turn is not None:
            self.client.note(broken="two prompts are in flight", message=params)
        session.turn = Turn(self.client, session, ident, params)
        return threading.Thread(target=session.turn.play, daemon=True).start()

    def on_session_cancel(self, _, params):
        session = self.sessions.get(params["sessionId"])
        turn = session and session.turn
        if turn is None:
            self.client.note(idle_cancel=True)
        else:
            turn.cancelled.set()


if __name__ == "__main__":
    Agent(arguments()).serve()
