"""One life of a sidecar: a process, and lines of JSON to and from it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import json
import logging
import subprocess
import threading
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence

log = logging.getLogger("turnlane")

# How long output may go on, or the exit status be missing, once the other of the two is known.
TAIL_S = 2.0
STDERR_LINES = 20


class Lines(asyncio.Protocol):
    """Cuts what is read into lines, of whatever length. It always reads: nobody who is slow can make the sidecar wait."""

    def __init__(self, on_line: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._parts: List[bytes] = []

    def data_received(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for line in whole:
            if self._parts:
                self._parts.append(line)
                line = b"".join(self._parts)
                self._parts = []
            self._on_line(line)
        if rest:
            self._parts.append(rest)

    def connection_lost(self, exc: Optional[Exception]) -> None:  # noqa: ARG002  (asyncio's name)
        self._on_end()


def _same(lines: Lines) -> Lines:
    return lines


class Link:
    """A sidecar's process. `on_message` gets each message, `on_lost` is called once, when there will be no more."""

    def __init__(self, on_message: Callable[[Dict[str, Any]], None], on_lost: Callable[[Link], None]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._lost = False
        self._input: Optional[asyncio.WriteTransport] = None
        self._transports: List[asyncio.BaseTransport] = []
        self._pipes: List[Any] = []
        self._stderr: Deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """The exit status, or the negative number of the signal that ended the process."""
        self.foreign: asyncio.Future[str] = self._loop.create_future()
        """What it said that is no message of turnlane's, if it did."""
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def pid(self) -> int:
        """The process; 0 if there is none. To signal it is for `signal` alone, since 0 is this program's own process group."""
        return self._process.pid if self._process is not None else 0

    async def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Optional[str]) -> None:
        """Starts the process. Raises `OSError` if it can't be started."""
        # A session of its own: a terminal's Ctrl-C is for this program, which then leaves in order.
        process = subprocess.Popen(  # noqa: ASYNC220  (asyncio's own would kill an owner that stays for others)
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        self._process = process
        self._pipes = [process.stdin, process.stdout, process.stderr]
        threading.Thread(target=self._reap, args=(process,), name=f"turnlane-{process.pid}", daemon=True).start()
        loop = self._loop
        self._input, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
        for lines, pipe in (
            (Lines(self._line, self._output_ended), process.stdout),
            (Lines(self._said, lambda: None), process.stderr),
        ):
            transport, _ = await loop.connect_read_pipe(functools.partial(_same, lines), pipe)
            self._transports.append(transport)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._exited, status)

    def _exited(self, status: int) -> None:
        if not self.exited.done():
            self.exited.set_result(status)
        # Whatever still holds its output open is not the sidecar.
        self._loop.call_later(TAIL_S, self._output_ended)

    def _line(self, line: bytes) -> None:
        if self._lost or not line.strip():
            return
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            if not self.foreign.done():
                self.foreign.set_result(line[:200].decode("utf-8", "replace"))
            log.error("the sidecar said what is no message: %.200r", line)
            return
        try:
            self._on_message(message)
        except Exception:
            # A mistake of this library's must not stop the reading of all that follows.
            log.exception("a message could not be handled: %.200r", line)

    def _said(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._stderr.append(text)
            log.info("sidecar %d: %s", self.pid, text)

    def _output_ended(self) -> None:
        if not self._lost:
            self._lost = True
            self._ended.set()
            self._on_lost(self)

    @property
    def gone(self) -> bool:
        """Whether it will say nothing more."""
        return self._lost

    @property
    def last_words(self) -> str:
        """What it wrote to its standard error at last."""
        return "\n".join(self._stderr)

    def write(self, line: bytes) -> None:
        """Writes a line; nothing happens where the process is gone."""
        if self._input is not None and not self._input.is_closing():
            self._input.write(line)

    async def status(self, timeout: float = TAIL_S) -> Optional[int]:
        """The exit status; `None` if it lives on for others, without a word."""
        done, _ = await asyncio.wait([self.exited], timeout=timeout)
        return self.exited.result() if done else None

    def leave(self) -> None:
        """Closes its input: this client's leave."""
        if self._input is not None:
            self._input.close()

    async def ended(self, timeout: Optional[float]) -> bool:
        """Waits until it will say nothing more. Returns whether that is so."""
        try:
            await asyncio.wait_for(self._ended.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    async def over(self, timeout: float) -> bool:
        """Waits until it is gone, or will say nothing more: of one that nobody has read yet only the first is seen. Returns whether that is so."""
        silent = asyncio.ensure_future(self._ended.wait())
        either: List[asyncio.Future[Any]] = [silent, self.exited]
        try:
            done, _ = await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            silent.cancel()
        return bool(done)

    def signal(self, number: int) -> None:
        """Sends a signal to the process, if it was started and is still there."""
        if self._process is not None and not self.exited.done():
            self._process.send_signal(number)

    async def close(self) -> None:
        """Lets go of its pipes; it leaves by itself."""
        if self._input is not None and not self._input.is_closing():
            self._input.abort()
        for transport in self._transports:
            transport.close()
        # The loop closes what they stand on in its next rounds.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for pipe in self._pipes:
            pipe.close()
