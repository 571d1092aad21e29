"""What the parameters of chapter 04 must be to each other, looked at before anything is trained."""

from collections.abc import Sequence


def require_held(name: str, values: Sequence[float], wanted: Sequence[float], why: str) -> None:
    """Each wanted value is among those of the parameter; else a ValueError."""
    if missing := [f"{value:g}" for value in wanted if value not in values]:
        given = ", ".join(f"{value:g}" for value in values)
        raise ValueError(f"{name} must hold {' and '.join(missing)}, {why}; it holds {given}")


def require_fit(batches: int, images: int, available: int) -> None:
    """So many batches of so many images can be cut from those available; else a ValueError."""
    if not 1 <= batches * images <= available:
        raise ValueError(
            f"{batches} batches of {images} do not fit {available} test images: ask for fewer or "
            "smaller batches, or for more test images"
        )
