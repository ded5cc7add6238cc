"""Trains image classifiers from a folder of images, through the program `emberlens`.

    import emberlens

    run = emberlens.train("IMAGES")          # a folder with a folder for each class
    run.history()                            # the metrics of each epoch
    run.predict("new/")                      # class and probabilities of each image

The program comes with this package and does the work; nothing else is needed. Its recipes,
commands and options are those of the command line.
"""

from __future__ import annotations

from ._program import EmberlensError, Option
from ._run import Epoch, Run, load, train

__all__ = ["EmberlensError", "Epoch", "Option", "Run", "load", "train"]
