"""Where the program `turnlane` is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Mapping, Optional, Union

from .errors import BinaryNotFoundError

HOW = "give `binary=` to Turnlane.spawn(), set TURNLANE_BIN, or put `turnlane` on your PATH (`cargo install --path .` in its source does)"


def find_binary(binary: Optional[Union[str, Path]] = None, env: Optional[Mapping[str, str]] = None) -> str:
    """The program's path: `binary`, else the variable `TURNLANE_BIN`, else `turnlane` on the PATH.

    What is named and is not there is an error, and no reason to look further: `BinaryNotFoundError`.
    """
    env = os.environ if env is None else env
    path = env.get("PATH")
    if binary is not None:
        return _executable(str(binary), "the option `binary`", path)
    named = env.get("TURNLANE_BIN")
    if named:
        return _executable(named, "the variable TURNLANE_BIN", path)
    found = shutil.which("turnlane", path=path)
    if found is None:
        raise BinaryNotFoundError(f"there is no program `turnlane` on the PATH: {HOW}")
    return found


def _executable(named: str, source: str, path: Optional[str]) -> str:
    found = shutil.which(named, path=path)
    if found is None:
        why = "can't be executed" if Path(named).exists() else "is not there"
        raise BinaryNotFoundError(f"{source} names {named}, which {why}: {HOW}")
    # Absolute, since the sidecar may be started elsewhere; as it is called, since a link may be the way to the newest.
    return str(Path(found).absolute())
