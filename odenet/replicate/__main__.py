"""Command line of the replication: run, check, verdicts, book."""

import argparse
import sys
import time
from collections.abc import Sequence

from odenet.replicate import book
from odenet.replicate.claims import columns, judged, sentence
from odenet.replicate.files import locked
from odenet.replicate.jobs import changes, plan
from odenet.replicate.parameters import typed
from odenet.replicate.profiles import OWN, Profile
from odenet.replicate.progress import LOG, duration, logged
from odenet.replicate.run import run


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
    parser = argparse.ArgumentParser(prog="python -m odenet.replicate", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (_run, _check, _verdicts, _book):
        sub = commands.add_parser(command.__name__.lstrip("_"), help=command.__doc__)
        sub.set_defaults(command=command)
        sub.add_argument("--profile", help="smoke, quick, paper (default: quick)")
        if command is _run:
            sub.add_argument("stems", nargs="*", metavar="NOTEBOOK", help="default: all")
            sub.add_argument("-p", nargs="+", action="extend", metavar="NAME=VALUE", default=[])
    return parser


def _run(options: argparse.Namespace) -> int:
    """run the notebooks that are not fresh"""
    given = typed(" ".join(options.p))
    profile = Profile(options.profile or (OWN if given else "quick"))
    jobs = plan(profile, options.stems, given)
    began = time.monotonic()
    with locked(profile.work / "lock"), logged(profile.work / "run.log"):
        failed = run(jobs)
        tail = f"{len(failed)} failed: {', '.join(failed)}" if failed else "all well"
        LOG.info(
            "Profile %s: %d notebooks in %s, %s. Log: %s",
            *(profile.name, len(jobs), duration(time.monotonic() - began), tail),
            (profile.work / "run.log").relative_to(profile.root),
        )
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> int:
    """say for each notebook whether its result is fresh, stale (since what) or missing"""
    fresh = True
    for job in plan(Profile(options.profile or "quick")):
        kept = job.kept()
        reasons = changes(job, kept) if kept else []
        state = "missing" if kept is None else "stale" if reasons else "fresh"
        fresh &= state == "fresh"
        print(f"{job.stem:<24}{state:<10}{'; '.join(reasons)}".rstrip())
    return 0 if fresh else 1


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
    try:
        page = book.build(profile.root, profile.name)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Start page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
