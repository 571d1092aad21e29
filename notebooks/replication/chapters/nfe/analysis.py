"""What chapter 04 makes of its trials: the course of a training, and what is said of it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from replication.chapters.nfe.trials.growth import BATCH_SIZE, Trial
from replication.words import ends, placed

SIZES = ["rms_state", "rms_slope"]


def course(result: Mapping[str, Any], trial: Trial) -> pd.DataFrame:
    """What was probed in a training, by the epochs that were done: 0, parts of the first, 1, ...

    Columns ("nfe", tolerance) and ("there_and_back", tolerance); ("rms", "state") and ("rms",
    "slope"), and their ``quotient``, slope over state; ("batches", "nfe"), the mean over the
    training batches of each epoch.
    """
    steps = math.ceil(trial.train_size / BATCH_SIZE)
    early = pd.DataFrame(result["early"], columns=["step", "nfe", "there_and_back", *SIZES])
    rows = pd.DataFrame(result["history"]).set_index("epoch")
    rows = pd.concat([rows[:1], early.set_index(early["step"] / steps), rows[1:]])
    probed = {
        name: pd.DataFrame(rows[name].tolist(), rows.index, list(trial.probes))
        for name in ("nfe", "there_and_back")
    }
    rms = rows[SIZES].set_axis(["state", "slope"], axis=1)
    rms["quotient"] = rms["slope"] / rms["state"]
    batches = rows[["nfe_forward"]].set_axis(["nfe"], axis=1)
    return pd.concat({**probed, "rms": rms, "batches": batches}, axis=1)


def rank_correlation(course: pd.DataFrame, tolerance: float) -> float:
    """Spearman's, of evaluations and the quotient of sizes, over all that was probed."""
    return float(course["nfe", tolerance].corr(course["rms", "quotient"], method="spearman"))


def published(trials: Path, epochs: int) -> list[pd.DataFrame]:
    """The courses of the published trainings by the authors' recipe that are longer than so many.

    ``trials`` is the folder of this chapter's among the published trials. Empty where it has none.
    """
    found = []
    for path in sorted(trials.glob("growth-recipe-*/result.json")):
        fields = json.loads(path.with_name("trial.json").read_text(encoding="utf-8"))["trial"]
        if fields["epochs"] > epochs:
            result = json.loads(path.read_text(encoding="utf-8"))["result"]
            found.append(course(result, Trial(**fields)))
    return found


def expected(claims: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """A Markdown list, claim by claim: what was predicted of each number, and what came.

    ``claims`` maps the name of a number to its row, in the order of the claims.
    """
    lines: list[str] = []
    for name, row in claims.items():
        if row.predicted:
            head = f"- **{row.title}** ({row.number})"
            lines += [head] if head not in lines else []
            lines.append(f"  - {_expected(row, measured.get(name))}")
    return "\n".join(lines)


def _expected(row: Any, found: Mapping[str, Any] | float | None) -> str:
    late = " after a look at such numbers" if row.post_hoc else ""
    return f"{row.claim}. *Predicted{late}:* {row.predicted}. *Came:* {came(found, row.accept)}."


def require_control(control_epochs: int, growth_epochs: int) -> None:
    """A control is compared with as long a training of the recipe; else a ValueError."""
    if control_epochs > growth_epochs:
        raise ValueError(
            f"control_epochs = {control_epochs} is more than growth_epochs = {growth_epochs}, but "
            "a control is compared with a training by the recipe of the same length: lower the "
            "first, or raise the second"
        )


def span(estimate: Mapping[str, Any], digits: int = 2) -> str:
    """From the lowest seed to the highest."""
    return ends(estimate["values"], digits)


def came(found: Mapping[str, Any] | float | None, accept: Sequence[float]) -> str:
    """A metric and where it lies: `1.02 to 1.14, below 1.2 in all 3 seeds`."""
    if found is None:
        return "not measured in this run"
    if not isinstance(found, Mapping):
        return f"{found:.2f}, {placed([found], accept)}"
    return f"{span(found)}, {placed(found['values'], accept)}"
