"""Runs the program: options in, what it prints out, its errors as exceptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Option = str | int | float | os.PathLike[str] | Sequence[Any] | Mapping[str, Any] | None
"""The value of an option: True for one without a value, a list for one that is repeated."""

_TICK = 0.1  # seconds between two looks at what the program has said
_ANSWER = 1.0  # seconds that it has to answer an interrupt


class EmberlensError(RuntimeError):
    """The program has failed; the text is the program's."""


def find() -> str:
    """Returns the path of the program: the one installed with this package, else on the PATH."""
    name = "emberlens.exe" if sys.platform == "win32" else "emberlens"
    schemes = [sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")]
    folders = [sysconfig.get_path("scripts", scheme) for scheme in schemes]
    paths = (Path(folder, name) for folder in folders)
    found = next((str(path) for path in paths if path.is_file()), None) or shutil.which(name)
    if found:
        return found
    places = ", ".join(folders)
    raise EmberlensError(f"found no {name} in {places} or on the PATH; install the wheel")


def to_toml(value: object) -> str:
    """Returns a value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, os.PathLike)):
        # JSON's escapes are TOML's, which has one more.
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = (f"{to_toml(str(key))} = {to_toml(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    raise TypeError(f"found {value!r}, expected text, a number, true or false, a list or a dict")


def arguments(options: Mapping[str, Option]) -> list[str]:
    """Returns options as the command line has them: `top_k=3` is `--top-k=3`, `class_="a"` is
    `--class=a`, and `set={"train.epochs": 5}` is `--set=train.epochs=5`."""
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.strip("_").replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, Mapping):
            words += [f"{flag}={key}={to_toml(item)}" for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            words += [f"{flag}={item}" for item in value]
        elif value is not None and value is not False:
            words.append(f"{flag}={value}")
    return words


def run(words: Sequence[str], watch: Callable[[list[str]], None] | None = None) -> str:
    """Runs the program and returns what it prints.

    `watch` is called ten times a second with the lines that the program has said so far; without
    it, the program's warnings become Python's. If `watch` fails, or at Ctrl-C, the program is
    interrupted and saves what it trains, before the exception goes on.
    """
    process = subprocess.Popen(
        [find(), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        # Windows can only interrupt a group of processes.
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    said: list[str] = []
    printed: list[str] = []
    readers = [
        threading.Thread(target=_collect, args=(process.stderr, said), daemon=True),
        threading.Thread(target=_collect, args=(process.stdout, printed), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        for reader in readers:
            while reader.is_alive():
                reader.join(_TICK)
                if watch:
                    watch(said)
    except BaseException as error:
        was_ctrl_c = isinstance(error, KeyboardInterrupt)
        _interrupt(process, said, was_ctrl_c)
        if watch and was_ctrl_c:
            readers[0].join()
            watch(said)
        raise
    status, out = process.wait(), "".join(printed)
    if status and not (status == 1 and out and words[0] in ("predict", "explain")):
        first = next((i for i, line in enumerate(said) if line.startswith("error: ")), -3)
        text = "".join(said[first:]).strip()
        raise EmberlensError(text.removeprefix("error: ") or f"emberlens ended with {status}")
    for line in [] if watch else said:
        # An error among results is an image that couldn't be read.
        if line.startswith(("warning: ", "error: ")):
            warnings.warn(line.split(": ", 1)[1].strip(), stacklevel=4)
    return out


def _collect(stream: Iterable[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)


def _interrupt(process: subprocess.Popen[str], said: list[str], was_ctrl_c: bool) -> None:
    """Interrupts the program, unless it knows already, and waits until it has ended."""

    def is_told() -> bool:
        return any(line.startswith(("Ctrl-C: ", "Stopped by ")) for line in said)

    # A terminal and Jupyter send Ctrl-C to both processes; a second one would end a run unsaved.
    deadline = time.monotonic() + (_ANSWER if was_ctrl_c else 0.0)
    while process.poll() is None and not is_told() and time.monotonic() < deadline:
        time.sleep(_TICK / 10)
    try:
        if process.poll() is None and not is_told():
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
        process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
