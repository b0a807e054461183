"""The examples, the demo and the page do what they say, each as a program of its own in an empty folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, List

from support import BINARY

from turnlane import find_binary
from turnlane.sync import Turnlane

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
COPROC = ROOT.parent / "bash" / "examples" / "coproc.sh"


class Programs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.env: Dict[str, str] = {
            **os.environ,
            "TURNLANE_BIN": find_binary(BINARY),
            "TURNLANE_STORE": str(self.folder / "store"),
            "XDG_CONFIG_HOME": str(self.folder),
            "PYTHONUNBUFFERED": "1",
        }

    def run_it(self, *command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        if words[0].endswith(".py") or words[0] == "-m":
            words.insert(0, sys.executable)
        options = {"capture_output": True, "text": True, "timeout": 120, "check": False, "cwd": self.folder, **options}
        return subprocess.run(words, env=self.env, **options)

    def test_a_parent_takes_the_results_of_three_children_once(self) -> None:
        first = self.run_it(EXAMPLES / "family.py")
        self.assertEqual(first.returncode, 1, first.stderr)
        self.assertEqual(
            sorted(first.stdout.splitlines()),
            [
                "docs: 12 pages (completed, exit 0)",
                "lint: no warnings (completed, exit 0)",
                "test: 41 passed, 1 failed (failed: the command exited with code 1)",
            ],
        )
        second = self.run_it(EXAMPLES / "family.py")
        self.assertEqual((second.returncode, second.stdout), (0, "nothing new: today's results were taken before\n"))

    def test_a_ci_step_fails_with_its_run_and_can_be_repeated(self) -> None:
        command = "echo built; echo x >> ran; exit 7"
        for _ in range(2):
            done = self.run_it(EXAMPLES / "ci.py", "--run-id", "abc", "--", command)
            self.assertEqual((done.returncode, done.stdout), (7, "built\n"), done.stderr)
        self.assertEqual((self.folder / "ran").read_text(), "x\n")
        self.assertEqual(self.run_it(EXAMPLES / "ci.py", "true").returncode, 0)
        other = self.folder / "other"
        other.mkdir()
        self.assertEqual(self.run_it(EXAMPLES / "ci.py", "pwd", cwd=other).stdout, f"{other}\n")
        late = self.run_it(EXAMPLES / "ci.py", "--timeout", "0.1", "sleep 60")
        self.assertEqual(late.returncode, 124)
        self.assertTrue(late.stderr.startswith("ci: timedOut"), late.stderr)

    def test_a_step_that_joins_one_under_way_shows_its_output_once(self) -> None:
        gate = self.folder / "gate"
        os.mkfifo(gate)
        command = [
            sys.executable,
            str(EXAMPLES / "ci.py"),
            "--run-id",
            "abc",
            "--",
            f"echo begun; read line < {gate}; printf '\\303'; printf '\\251\\n'",
        ]
        pipes: Dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": self.env, "cwd": self.folder}
        with contextlib.ExitStack() as after:
            steps = []
            for _ in range(2):
                step = after.enter_context(subprocess.Popen(command, **pipes))
                after.callback(step.kill)
                assert step.stdout is not None
                self.assertEqual(step.stdout.readline(), b"begun\n")
                steps.append(step)
            gate.write_text("on\n", encoding="utf-8")
            for step in steps:
                said, _ = step.communicate(timeout=60)
                self.assertEqual((said, step.returncode), ("é\n".encode(), 0))

    def test_results_that_say_much_are_all_taken(self) -> None:
        much = (EXAMPLES / "family.py").read_text(encoding="utf-8").replace("echo '", "seq 6500; echo '")
        program = self.folder / "much.py"
        program.write_text(much, encoding="utf-8")
        done = self.run_it(program)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(sum(line.endswith(")") for line in done.stdout.splitlines()), 3)

    def test_a_bot_drains_its_mailbox_until_it_is_told_to_end(self) -> None:
        bot = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "mailbox.py"), "post"], env=self.env, cwd=self.folder, stdout=subprocess.PIPE, text=True
        )
        with contextlib.ExitStack() as after:
            after.callback(bot.kill)
            assert bot.stdout is not None
            after.callback(bot.stdout.close)
            self.assertEqual(bot.stdout.readline(), "waiting for what comes for post\n")
            with Turnlane.spawn(env=self.env) as t:
                t.open_session("child", agent="sh", parent="post")
                for number in range(3):
                    t.prompt("child", f"echo {number}", run_id=f"r{number}")
                    self.assertEqual(bot.stdout.readline(), f"r{number} of child: completed, exit 0: {number}\n")
                t.wait_session("post", "settled")
            bot.send_signal(signal.SIGINT)
            self.assertEqual((bot.wait(timeout=60), bot.stdout.read()), (0, ""))

    def test_a_progress_bar_counts_to_its_end(self) -> None:
        done = self.run_it(EXAMPLES / "progress.py", "20", "4")
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 20, done.stderr)
        self.assertEqual(lines[-1], f"[{'#' * 40}] 20/20 18 completed, 2 failed")
        self.assertEqual(done.returncode, 1)

    def test_the_demo_shows_what_a_client_does(self) -> None:
        done = self.run_it("-m", "turnlane")
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in ("  ready", "  → completed, exit 0", "  second: cancelled (client)", "  third: completed, exit 0"):
            self.assertIn(line, done.stdout.splitlines())
        self.assertIn("  b: two → failed: the command exited with code 2", done.stdout.splitlines())

    def test_the_demo_runs_a_command_and_exits_as_it_did(self) -> None:
        done = self.run_it("-m", "turnlane", "--", "echo out; echo err >&2; exit 4")
        self.assertEqual((done.returncode, done.stdout), (4, "out\n"))
        self.assertRegex(done.stderr, r"\Aerr\nturnlane: failed: the command exited with code 4 \[[-0-9a-f]+\]\n\Z")
        empty = self.run_it("-m", "turnlane", "--", "")
        self.assertEqual(empty.returncode, 125)
        with Turnlane.spawn(env=self.env) as t:
            self.assertEqual([session.state for session in t.sessions()], ["closed"])
        self.env["TURNLANE_BIN"] = "/no/such"
        refused = self.run_it("-m", "turnlane")
        self.assertEqual(refused.returncode, 125)
        self.assertIn("TURNLANE_BIN names /no/such, which is not there", refused.stderr)

    @unittest.skipUnless(COPROC.exists() and shutil.which("bash"), "bash, or the script beside this package, is not there")
    def test_the_demo_shows_what_an_agent_asks(self) -> None:
        words = [sys.executable, "-m", "turnlane", "--agent", "script", "--", "ask Shall I?"]
        asking = subprocess.Popen(words, env=self.env, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        with contextlib.ExitStack() as after:
            after.callback(asking.kill)
            assert asking.stderr is not None
            after.callback(asking.stderr.close)
            self.assertIn("turnlane: it asks: Shall I? (yes, no)", asking.stderr.readline())
            asking.send_signal(signal.SIGINT)
            self.assertEqual(asking.wait(timeout=60), 130)

    def test_bash_speaks_to_a_sidecar_through_a_coprocess(self) -> None:
        done = self.run_it("bash", COPROC, 'printf "h\\303\\251llo \\"q\\" \\\\\\\\ 100%%\\n\\ttab\\n"; exit 3')
        self.assertEqual((done.returncode, done.stdout), (3, 'héllo "q" \\ 100%\n\ttab\n'), done.stderr)
        self.assertEqual(done.stderr, "coproc.sh: failed\n")
        self.assertEqual(self.run_it("bash", COPROC, "true").returncode, 0)
        long = self.run_it("bash", COPROC, "yes 0123456789 | head -n 3000")
        self.assertEqual((long.returncode, len(long.stdout)), (0, 33_000), long.stderr)
        odd = self.run_it("bash", COPROC, "printf '\\377bin\\n'", text=False)
        self.assertEqual((odd.returncode, odd.stdout), (0, b"\xffbin\n"), odd.stderr)
        refused = self.run_it("bash", COPROC, "")
        self.assertEqual(refused.returncode, 125)
        self.assertIn("coproc.sh: ", refused.stderr)

    def test_the_page_runs_as_it_is_written(self) -> None:
        blocks = self.python_blocks()
        self.assertGreaterEqual(len(blocks), 5)
        for number, block in enumerate(blocks):
            with self.subTest(block.splitlines()[0]):
                program = self.folder / f"block{number}.py"
                program.write_text(block, encoding="utf-8")
                for _ in range(4 if "WakePolicy" in block else 1):  # more than may be woken in a row
                    done = self.run_it(program)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertEqual(done.stdout, self.promised(block), block)

    def python_blocks(self) -> List[str]:
        page = (ROOT / "README.md").read_text(encoding="utf-8")
        return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    def promised(self, block: str) -> str:
        """What a block's comments `# prints: …` say that it prints."""
        return "".join(line + "\n" for line in re.findall(r"# prints: (.*)$", block, re.MULTILINE))


if __name__ == "__main__":
    unittest.main()
