"""Runs: trained, loaded, looked at and used."""

from __future__ import annotations

import csv
import html
import importlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ._program import EmberlensError, Option, arguments, run, to_toml

PathLike = str | os.PathLike[str]
Epoch = dict[str, float]
OnEpoch = Callable[[Epoch], object]


def train(
    config: PathLike | Mapping[str, object], on_epoch: OnEpoch | None = None, **options: Option
) -> Run:
    """Trains, and returns the run.

    `config` is a recipe as a dict or a TOML file, or images: a folder with a folder for each
    class, or a CSV. `on_epoch` is called with the metrics of each epoch, under the names of
    `Run.history`. Options are those of `emberlens train`: `out="runs/first"`,
    `set={"train.epochs": 5}`, `quick_trials=True`.

    An interrupt saves the run and goes on as KeyboardInterrupt; `load(path).resume()` continues.

    Raises EmberlensError, with the program's words, if the training fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(config, Mapping):
            path = Path(folder, "recipe.toml")
            lines = (f"{to_toml(key)} = {to_toml(value)}\n" for key, value in config.items())
            path.write_text("".join(lines), encoding="utf-8")
            config = path
        words = ["train", *arguments(options), "--", os.fspath(config)]
        return _train(words, _Progress(on_epoch))


def load(path: PathLike) -> Run:
    """Returns the run in a folder that `train` or the command line wrote.

    Raises EmberlensError if the folder is no run.
    """
    if not Path(path, "config.toml").is_file():
        raise EmberlensError(f"found no config.toml, expected the folder of a run: {path}")
    return Run(Path(path).absolute())


class Run:
    """A run folder, `path`. A notebook shows its report, or how far the training is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"emberlens.load({str(self.path)!r})"

    def _repr_html_(self) -> str:
        pages = (self.path / name for name in ("report.html", "training.html"))
        report = next((page for page in pages if page.is_file()), None)
        if report is None:
            return f"<code>{html.escape(repr(self))}</code>"
        page = html.escape(report.read_text(encoding="utf-8"))
        style = "box-sizing: border-box; width: 100%; height: 45em; border: 1px solid #8888"
        return f'<iframe srcdoc="{page}" sandbox style="{style}"></iframe>'

    def history(self) -> Any:
        """Returns the metrics of each epoch: a DataFrame if pandas is installed, else a list of
        dicts. Columns have Keras's names."""
        rows = _history(self.path)
        if importlib.util.find_spec("pandas"):
            return importlib.import_module("pandas").DataFrame(rows)
        return rows

    def predict(self, paths: PathLike | Iterable[PathLike], **options: Option) -> list[Any]:
        """Classifies images, or all images in folders. Returns for each a dict with its `path`,
        `label`, `probability` and the `probabilities` of all classes.

        Options are those of `emberlens predict`: `abstain=True`, `device="cpu"`. An image that
        can't be read is a warning, and has no result.
        """
        return self._on_images("predict", paths, options)

    def explain(self, paths: PathLike | Iterable[PathLike], **options: Option) -> list[Any]:
        """Shows where the network finds evidence for a class. Returns for each image a dict with
        its `label`, the image file `overlay`, and in `words` how far the map can be trusted.

        Options are those of `emberlens explain`: `method="layer-cam"`, `class_="cat"`,
        `out="maps"`.
        """
        return self._on_images("explain", paths, options)

    def evaluate(self, data: PathLike | None = None, **options: Option) -> dict[str, Any]:
        """Measures the best epoch on images whose class is known: a folder or CSV, by default
        the run's own test images. Returns metrics with their 95 % intervals, as `metrics.json`.

        Options are those of `emberlens evaluate`: `split="val"`, `tta=8`, `compare="OTHER"`.
        """
        words = ["evaluate", f"--checkpoint={self.path}", "--json"]
        result: dict[str, Any] = json.loads(run(words + arguments({"data": data, **options})))
        return result

    def resume(self, on_epoch: OnEpoch | None = None, **options: Option) -> Run:
        """Continues the run exactly where it stopped, or with `set={"train.epochs": 50}` beyond
        its end."""
        words = ["train", f"--resume={self.path}", *arguments(options)]
        return _train(words, _Progress(on_epoch, len(_history(self.path))))

    def _on_images(
        self, command: str, paths: PathLike | Iterable[PathLike], options: Mapping[str, Option]
    ) -> list[Any]:
        many = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        words = [command, f"--checkpoint={self.path}", "--format=jsonl", *arguments(options)]
        out = run([*words, "--", *(os.fspath(path) for path in many)])
        return [json.loads(line) for line in out.splitlines()]


def _history(folder: Path) -> list[Epoch]:
    path = folder / "history.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        epochs = [{name: float(value or "nan") for name, value in row.items()} for row in rows]
    return [{**epoch, "epoch": int(epoch["epoch"])} for epoch in epochs]


def _train(words: list[str], progress: _Progress) -> Run:
    try:
        run(words, progress)
    except KeyboardInterrupt:
        if progress.folder and (progress.folder / "last").is_dir():
            again = f"saved; to continue: {Run(progress.folder)!r}.resume()"
            raise KeyboardInterrupt(again) from None
        raise
    if progress.folder is None:
        raise EmberlensError("nothing was trained; drop dry_run")
    return Run(progress.folder)


class _Progress:
    """Hands on what the program says: lines to stderr, in a notebook a bar above them; and the
    metrics of each epoch to `on_epoch`."""

    def __init__(self, on_epoch: OnEpoch | None, num_epochs: int = 0) -> None:
        self.folder: Path | None = None
        self.on_epoch, self.num_epochs, self.num_lines = on_epoch, num_epochs, 0
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        self.notebook: Any = None
        if hasattr(shell, "kernel"):
            self.notebook = importlib.import_module("IPython.display")
            self.cell = self.notebook.display(self.notebook.HTML(""), display_id=True)

    def __call__(self, said: list[str]) -> None:
        new = said[self.num_lines :]
        self.num_lines += len(new)
        for line in new:
            if line.startswith("Run folder: "):
                self.folder = Path(line.split(": ", 1)[1].rstrip("\n")).absolute()
        if new and self.notebook:
            self.cell.update(self.notebook.HTML(_bar(said[: self.num_lines])))
        elif new:
            sys.stderr.writelines(new)
        if self.folder and self.on_epoch:
            for epoch in _history(self.folder)[self.num_epochs :]:
                self.num_epochs += 1
                self.on_epoch(epoch)


def _bar(said: list[str]) -> str:
    """Returns the last epoch as a bar, above all lines."""
    epochs = (re.match(r"Epoch (\d+)/(\d+) - (.*)", line) for line in reversed(said))
    last = next(filter(None, epochs), None)
    text = f"<details><summary>Messages</summary><pre>{html.escape(''.join(said))}</pre></details>"
    if last is None:
        return f"<div>{html.escape(said[-1])}</div>{text}"
    done, total, figures = last.groups()
    bar = f'<progress value="{done}" max="{total}"></progress> epoch {done} of {total}'
    return f"<div>{bar}: {html.escape(figures)}</div>{text}"
