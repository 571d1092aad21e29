"""What the start page says of its three claims: words that the numbers choose."""

from collections.abc import Callable, Mapping, Sequence

from replication.runner.claims.agreement import Agreement
from replication.runner.claims.rules import main_tests
from replication.runner.claims.verdicts import Verdict, between


def _times(number: float) -> str:
    said = f"{number:.3g}"
    return "just" if said == "1" else f"{said} times"


def _more_often_than(points: float) -> str:
    if f"{abs(points):.2f}" == "0.00":
        return "as often as"
    return f"{abs(points):.2f} points {'more' if points > 0 else 'less'} often than"


SAID: Mapping[str, Callable[[float], str]] = {  # by test: true whatever its number is
    "latent-ode-30-told": lambda x: (
        f"From 30 of 100 points and their times, the RNN's error is {_times(x)} the latent ODE's"
    ),
    "latent-ode-30-untold": lambda x: (
        f"Where neither is told the times, it is {_times(x)} the latent ODE's"
    ),
    "mnist-parity-paired": lambda x: (
        f"On the test digits of MNIST, the ODE-Net errs {_more_often_than(x)} the ResNet"
    ),
    "pixels-parity": lambda x: (
        f"On raw pixels, the ODE block errs {_more_often_than(x)} six residual blocks"
    ),
    "growth-from-epoch-1": lambda x: (
        f"At the end of the training, a solve takes {_times(x)} as many evaluations as after the "
        "first epoch"
    ),
}


def findings(tests: Sequence[Verdict], rerun: Mapping[str, Agreement]) -> list[tuple[str, str]]:
    """A sentence for each main test of one claim, and its verdict.

    Of a rerun, the sentence is on its own number and says whether that agrees; the verdict, which
    is the published one, is empty.
    """
    if rerun:
        return [(_own(rerun[row.claim.id]), "") for row in main_tests(tests)]
    return [(_published(row), row.verdict) for row in main_tests(tests)]


def _published(row: Verdict) -> str:
    if row.estimate is None:
        return f"Claimed, but not measured yet: {row.claim.claim}."
    needed = between(row.claim.accept, row.claim.unit)
    return f"{SAID[row.claim.id](row.estimate.mean)}; the claim needs {needed}."


def _own(found: Agreement) -> str:
    if found.estimate is None:
        return f"Not measured in this run: {found.claim.claim}."
    reason = f" ({found.reason})" if found.reason else ""
    words = f"{SAID[found.claim.id](found.estimate.mean)}."
    return f"{words} With the published run: {found.word}{reason}."
