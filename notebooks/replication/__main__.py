"""Command line of the replication: run, check, verdicts, book, readme, cache."""

import argparse
import sys
import time
from collections.abc import Sequence

from replication.runner import book, first_edition, readme
from replication.runner.claims.verdicts import columns, judged, sentence
from replication.runner.files import locked, require_writable
from replication.runner.jobs import plan
from replication.runner.parameters import typed
from replication.runner.profiles import EVIDENCE, OWN, Profile
from replication.runner.progress import LOG, duration, logged
from replication.runner.run import run
from replication.runner.trials import inventory
from replication.runner.trials.engines import require_engine
from replication.runner.trials.entries import cache


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all well, 1 something failed or is not fresh, 2 wrong input, 130 ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. What is finished is kept; the same command goes on from here.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m replication", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (_run, _check, _verdicts, _book):
        sub = commands.add_parser(command.__name__.lstrip("_"), help=command.__doc__)
        sub.set_defaults(command=command)
        sub.add_argument("--profile", help="smoke, quick, paper (default: quick)")
        if command is _run:
            sub.add_argument("stems", nargs="*", metavar="NOTEBOOK", help="default: all")
            sub.add_argument("-p", nargs="+", action="extend", metavar="NAME=VALUE", default=[])
            limit = "time allowed for each notebook (default: no limit)"
            sub.add_argument("--limit", type=_seconds, metavar="SECONDS", help=limit)
    commands.add_parser("readme", help=_readme.__doc__).set_defaults(command=_readme)
    _add_cache(commands.add_parser("cache", help=_cache.__doc__))
    return parser


def _add_cache(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(command=_cache)
    clear = sub.add_subparsers().add_parser("clear", help=_clear.__doc__)
    clear.set_defaults(command=_clear)
    names = "an experiment, or a pattern of entries such as 'spirals/*seed0*'"
    clear.add_argument("patterns", nargs="*", metavar="PATTERN", help=names)
    clear.add_argument("--state", choices=inventory.STATES, help="only entries in this state")
    clear.add_argument("--yes", action="store_true", help="remove them; else they are listed only")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")
    return seconds


def _run(options: argparse.Namespace) -> int:
    """run the notebooks that are not fresh"""
    given = typed(" ".join(options.p))
    profile = Profile(options.profile or (OWN if given else "quick"))
    jobs = plan(profile, options.stems, given)
    require_writable(profile.work, profile.chapters, profile.records, cache())
    require_engine()
    began = time.monotonic()
    with locked(profile.work / "lock"), logged(profile.work / "run.log"):
        failed = run(jobs, options.limit)
        names = f"{len(failed)} failed: {', '.join(failed)}; the same command runs only what failed"
        tail = names if failed else "all well"
        LOG.info(
            "Profile %s: %d notebooks in %s, %s. Log: %s",
            *(profile.name, len(jobs), duration(time.monotonic() - began), tail),
            (profile.work / "run.log").relative_to(profile.root),
        )
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> int:
    """say which notebooks are fresh, stale or missing, and why; exit status 1 if not all fresh"""
    profile = Profile(options.profile or "quick")
    standings = {job.stem: job.standing() for job in plan(profile)}
    for stem, (state, reasons) in standings.items():
        since = "; ".join(reasons) if state == "stale" else ""
        print(f"{stem:<24}{state:<10}{since}".rstrip())
    if first_edition.STATE in {state for state, _ in standings.values()}:
        print(first_edition.NOTE)
    behind = sum(state not in ("fresh", first_edition.STATE) for state, _ in standings.values())
    if behind:
        own = profile.name == OWN
        command = "make notebook NB=NAME" if own else f"make replicate PROFILE={profile.name}"
        print(f"{behind} of {len(standings)} not fresh. Run them with: {command}")
    return 1 if behind else 0


def _verdicts(options: argparse.Namespace) -> int:
    """judge the paper's claims by the records at hand"""
    profile = Profile(options.profile or "quick")
    rows = judged(profile.root, profile.records)
    lines = [("claim", "verdict", "here", "expected")]
    for row in rows:
        shown = columns(row)
        lines.append((row.claim.id, shown["verdict"], shown["here"], shown["expected"]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip())
    print(f"\n{sentence(rows)}")
    return 0


def _book(options: argparse.Namespace) -> int:
    """render the executed notebooks"""
    profile = Profile(options.profile or "quick")
    require_writable(profile.work)
    try:
        with locked(profile.work / "book.lock"):
            page = book.build(profile.root, profile.name)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Start page: {page}")
    return 0


def _readme(options: argparse.Namespace) -> int:
    """bring table and figure of README.md up to date with the published evidence"""
    for path in readme.refresh(Profile(EVIDENCE).root):
        print(f"Written anew: {path}")
    return 0


def _cache(options: argparse.Namespace) -> int:
    """list the finished and unfinished trials that are kept"""
    print(inventory.table(inventory.items()))
    print(f"They lie in {inventory.shelf()}. Remove some with: make forget TRIALS='spirals/*'")
    return 0


def _clear(options: argparse.Namespace) -> int:
    """remove trials that are kept, but none that a process works on"""
    chosen = inventory.choose(inventory.items(), options.patterns, options.state)
    if not options.yes:
        print(inventory.table(chosen))
        raise ValueError("nothing removed: give --yes (make: YES=1) to remove these")
    gone = inventory.remove(chosen)
    print(f"Removed {inventory.total(gone)}")
    busy = [item.name for item in chosen if item not in gone]
    if busy:
        print(f"Kept, because a process works on it: {', '.join(busy)}")
    return 1 if busy else 0


if __name__ == "__main__":
    sys.exit(main())
