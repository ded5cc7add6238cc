"""The package on the installed program: a small run is trained once, and looked at by each test."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import emberlens
from emberlens._program import arguments, to_toml

RECIPE: dict[str, object] = {
    "name": "small",
    "device": "cpu",
    "data": {"train": "phantom", "validation": 0.2, "image_size": [24, 20], "color": "grayscale"},
    "model": {"channels": [4, 8], "hidden": 0},
    "train": {"epochs": 2, "optimizer": {"kind": "adam", "learning_rate": 3e-3}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def epochs() -> list[emberlens.Epoch]:
    return []


@pytest.fixture(scope="module")
def run(place: Path, epochs: list[emberlens.Epoch]) -> emberlens.Run:
    return emberlens.train(RECIPE, epochs.append, out=place / "run")


def test_training_calls_back_with_the_metrics_of_each_epoch(
    run: emberlens.Run, epochs: list[emberlens.Epoch]
) -> None:
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert 0 < epochs[0]["val_accuracy"] <= 1
    assert math.isfinite(epochs[1]["loss"])
    assert run.path.name == "run"


def test_history_is_a_table_with_pandas_and_a_list_without(
    run: emberlens.Run, epochs: list[emberlens.Epoch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run.history() == epochs
    monkeypatch.undo()
    pandas = pytest.importorskip("pandas")
    assert list(run.history()["epoch"]) == [1, 2]
    assert isinstance(run.history(), pandas.DataFrame)


def test_a_loaded_run_classifies_evaluates_and_explains(run: emberlens.Run) -> None:
    loaded = emberlens.load("run")
    assert loaded.path == run.path
    found = loaded.predict("datasets/phantom/test/no_lesion", device="cpu")
    assert len(found) == 75
    assert found[0]["path"].endswith("000.png")
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
    assert loaded.evaluate(device="cpu")["images"] == 300
    image = Path("datasets/phantom/test/skull_lesion/001.png")
    [shown] = loaded.explain([image], class_="no_lesion", device="cpu")
    assert shown["class"] == "no_lesion"
    assert Path(shown["overlay"]).is_file()


def test_an_image_that_cannot_be_read_is_a_warning_and_the_others_are_classified(
    run: emberlens.Run, place: Path
) -> None:
    (place / "bad.png").write_text("no image")
    paths = ["bad.png", "datasets/phantom/test/no_lesion/000.png"]
    with pytest.warns(UserWarning, match=r"known image format.*bad\.png"):
        assert len(run.predict(paths, device="cpu")) == 1
    with pytest.raises(emberlens.EmberlensError, match=r"known image format"):
        run.predict("bad.png", device="cpu")


def test_errors_are_the_programs(run: emberlens.Run) -> None:
    with pytest.raises(emberlens.EmberlensError, match=r"did you mean `epochs`"):
        emberlens.train({**RECIPE, "train": {"epoch": 3}})
    with pytest.raises(emberlens.EmberlensError, match=r"already exists"):
        emberlens.train(RECIPE, out=run.path)
    with pytest.raises(emberlens.EmberlensError, match=r"unexpected argument '--colour'"):
        run.predict("x.png", colour="red")
    with pytest.raises(emberlens.EmberlensError, match=r"expected the folder of a run: datasets"):
        emberlens.load("datasets")


def test_a_failing_callback_stops_a_run_that_can_be_resumed(place: Path) -> None:
    def fail(epoch: emberlens.Epoch) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        emberlens.train(RECIPE, fail, out="failed", set={"train.epochs": 500})
    before = len(emberlens.load("failed").history())
    assert 1 <= before < 500
    rest: list[emberlens.Epoch] = []
    emberlens.load("failed").resume(rest.append, set={"train.epochs": before + 1})
    assert [epoch["epoch"] for epoch in rest] == [before + 1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("to_group", [True, False], ids=["group", "one process"])
def test_an_interrupt_saves_the_run_and_says_how_to_go_on(place: Path, to_group: bool) -> None:
    name = f"interrupted-{to_group}"
    code = (
        f"import emberlens; emberlens.train({RECIPE!r}, out={name!r}, set={{'train.epochs': 500}})"
    )
    command = [sys.executable, "-c", code]
    python = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (place / name / "history.csv").is_file():
        assert python.poll() is None
        time.sleep(0.05)
    (os.killpg if to_group else os.kill)(python.pid, signal.SIGINT)
    _, said = python.communicate(timeout=60)
    assert "finishing the step and saving" in said
    assert "KeyboardInterrupt: saved; to continue: emberlens.load(" in said
    count = len(emberlens.load(name).history())
    resumed = emberlens.load(name).resume(set={"train.epochs": count + 1})
    assert len(resumed.history()) == count + 1


def test_a_notebook_shows_the_report(run: emberlens.Run, place: Path) -> None:
    shown = run._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')
    assert '"' not in shown.split('"', 2)[1]
    (place / "empty<").mkdir()
    assert "empty&lt;" in emberlens.Run(place / "empty<")._repr_html_()


def test_python_m_emberlens_is_the_program() -> None:
    command = [sys.executable, "-m", "emberlens", "--version"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("emberlens ")
    bad = subprocess.run([*command[:3], "trian"], check=False, capture_output=True, text=True)
    assert bad.returncode == 2
    assert "'train'" in bad.stderr


@pytest.mark.parametrize(
    "value",
    [
        True,
        -3,
        1e-05,
        math.inf,
        'a "b" \\ \n\t\x7f\x00 é 😀',
        [1.5, [2, "c"]],
        {"a.b": {"c d": 1}, "": []},
        [{"epochs": 5, "freeze": "backbone"}, {"epochs": 10}],
    ],
)
def test_a_value_is_the_same_in_toml(value: Any) -> None:
    tomllib = pytest.importorskip("tomllib")
    assert tomllib.loads(f"value = {to_toml(value)}\n") == {"value": value}


def test_what_toml_lacks_is_named() -> None:
    with pytest.raises(TypeError, match="found None, expected text"):
        to_toml({"a": [None]})


def test_options_are_those_of_the_command_line() -> None:
    options = {"top_k": 3, "yes": True, "json": False, "device": None, "class_": "a b"}
    assert arguments(options) == ["--top-k=3", "--yes", "--class=a b"]
    several = arguments({"set": {"train.epochs": 5, "name": "x"}, "method": ["a", "b"]})
    assert several == ["--set=train.epochs=5", '--set=name="x"', "--method=a", "--method=b"]
    assert json.loads(to_toml(Path("a") / "b")) == str(Path("a") / "b")
