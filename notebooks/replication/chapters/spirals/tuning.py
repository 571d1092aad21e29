"""The learning rate of each model, from one search that is the same for all of them.

`python -m replication.chapters.spirals.tuning` repeats it and writes tuning.json beside this file:
fifty minutes of one core, with a C++ compiler. It sees the validation spirals of a seed that no
verdict uses, and of them, as the training does, only the noisy observations in the window.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from replication.chapters.spirals.trials import RECIPES, Trial, run

FILE = Path(__file__).with_name("tuning.json")
GRID = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04)
STARTS = 4  # as many as the published run has
SEED = 900
SETTING = Trial(observed=30, seed=SEED, iterations=3000, test_size=4, compiled=True)
Losses = dict[str, dict[float, float]]  # model -> rate -> lowest validation loss of its starts


def search(setting: Trial, grid: Sequence[float], starts: int) -> Losses:
    """The lowest validation loss of ``starts`` trainings, for each model at each rate."""
    return {
        model: {rate: min(_loss(setting, model, rate, i) for i in range(starts)) for rate in grid}
        for model in RECIPES
    }


def _loss(setting: Trial, model: str, rate: float, start: int) -> float:
    changed = asdict(setting) | {"model": model, "rate": rate, "start": start}
    with TemporaryDirectory() as folder:
        return run(Trial(**changed), Path(folder))["validation_loss"]


def write(losses: Losses, path: Path = FILE) -> None:
    path.write_text(json.dumps(losses, indent=1) + "\n", encoding="utf-8")


def read(path: Path = FILE) -> Losses:
    """What the search left."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {model: {float(rate): loss for rate, loss in row.items()} for model, row in kept.items()}


def best(losses: Losses) -> dict[str, float]:
    """The rate with the lowest validation loss, for each model."""
    return {model: min(row, key=lambda rate: row[rate]) for model, row in losses.items()}


def at_edge(losses: Losses) -> dict[str, str]:
    """The models whose best rate ends the grid, `lower` or `upper`: one beyond may be better."""
    found = {}
    for model, rate in best(losses).items():
        if rate in (ends := (min(losses[model]), max(losses[model]))):
            found[model] = ("lower", "upper")[ends.index(rate)]
    return found


if __name__ == "__main__":
    write(search(SETTING, GRID, STARTS))
