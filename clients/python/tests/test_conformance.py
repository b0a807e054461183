"""Every case of the shared list, each a test of its own."""

from __future__ import annotations

import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict

from conformance import CASES, Case, cases
from support import BINARY


class Conformance(unittest.IsolatedAsyncioTestCase):
    """Filled below."""


def make(case: Dict[str, Any]) -> Any:
    async def test(self: unittest.TestCase) -> None:
        for program in case.get("needs", []):
            if shutil.which(program) is None:
                self.skipTest(f"{program} is not installed")
        with tempfile.TemporaryDirectory() as folder:
            await Case(case, Path(folder), BINARY).run()

    return test


if CASES.exists():
    for one in cases():
        setattr(Conformance, f"test_{one['name']}", make(one))
else:

    class NoCases(unittest.TestCase):
        """An installed sdist has no schema beside it."""

        @unittest.skip(f"{CASES} is not there")
        def test_cases(self) -> None: ...


if __name__ == "__main__":
    unittest.main()
