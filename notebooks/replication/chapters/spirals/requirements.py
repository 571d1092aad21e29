"""What is refused before any training of the chapter starts."""

from collections.abc import Sequence

from replication.chapters.spirals import tuning
from replication.data.spirals import FAMILIES


def check(seeds: range, observed: Sequence[int], families: Sequence[str]) -> None:
    """Raises ValueError for seeds that are not fresh and for data that no verdict could use."""
    if tuning.SEED in seeds:
        raise ValueError(
            f"the learning rates were chosen on seed {tuning.SEED}, which cannot be among the "
            f"seeds {seeds[0]} to {seeds[-1]}: give another first seed, or fewer seeds"
        )
    if list(observed) != sorted(set(observed)):
        raise ValueError(f"observed must rise, each number once, got {observed}")
    if "log" not in families or len(set(families)) < len(families) or set(families) - set(FAMILIES):
        raise ValueError(
            f"families must be different ones of {', '.join(FAMILIES)}, log among them, "
            f"got {families}"
        )
