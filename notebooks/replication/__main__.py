"""Command line of the replication: run, figures, check, verdicts, book, readme."""

import argparse
import sys
import time
from collections.abc import Sequence

from replication import readme
from replication.runner import book, figures
from replication.runner.claims.agreement import agreeing, agreement, text
from replication.runner.claims.rules import HEADLINES
from replication.runner.claims.verdicts import judged, listed
from replication.runner.executors import executor
from replication.runner.files import locked, require_writable
from replication.runner.jobs import plan
from replication.runner.parameters import typed
from replication.runner.profiles import EVIDENCE, OWN, Profile
from replication.runner.progress import LOG, duration, logged
from replication.runner.run import run
from replication.runner.trials import cache_folder, sweep


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
    for command in (_run, _figures, _check, _verdicts, _book, _readme):
        sub = commands.add_parser(command.__name__.lstrip("_"), help=command.__doc__)
        sub.set_defaults(command=command)
        if command not in (_figures, _readme):
            names = "smoke, quick, paper (default: quick)"
            default = None if command is _run else "quick"  # with parameters of one's own: custom
            sub.add_argument("--profile", default=default, help=names)
        if command in (_run, _figures):
            sub.add_argument("stems", nargs="*", metavar="NOTEBOOK", help="default: all")
        if command is _figures:
            sub.add_argument("--check", action="store_true", help="compare only, write no chapter")
        if command is _book:
            sub.add_argument("--pdf", action="store_true", help="all pages as one PDF too")
        if command is _run:
            sub.add_argument("-p", nargs="+", action="extend", metavar="NAME=VALUE", default=[])
            limit = "time allowed for each cell (default: no limit)"
            sub.add_argument("--limit", type=_seconds, metavar="SECONDS", help=limit)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")
    return seconds


def _run(options: argparse.Namespace) -> int:
    """run the notebooks that are not fresh"""
    profile = Profile(options.profile or (OWN if options.p else "quick"))
    jobs = plan(profile, options.stems, typed(" ".join(options.p)))
    require_writable(profile.work, profile.chapters, profile.records, cache_folder())
    with executor(1):  # whatever it asks for can be had
        pass
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
    if profile.name == EVIDENCE and not failed and len(jobs) == len(profile.stems):
        records = [job.kept() or {} for job in jobs]
        sweep(profile.trials, [each["trial"] for kept in records for each in kept["trials"]])
    if rows := agreement(profile.root, profile.records):
        asked = dict.fromkeys(row.claim.number for row in rows if row.claim.stem in options.stems)
        print(f"\n{text(rows, list(asked) or HEADLINES)}\n{agreeing(rows)}")
        print(f"All of them: make verdicts PROFILE={profile.name}")
    return 1 if failed else 0


def _figures(options: argparse.Namespace) -> int:
    """draw the published chapters anew from kept trials; exit status 1 if a number changed"""
    profile = Profile(EVIDENCE)
    jobs = plan(profile, options.stems)
    require_writable(profile.work, profile.chapters)
    with locked(profile.work / "lock"), logged(profile.work / "run.log"):
        return 0 if figures.redraw(jobs, keep=not options.check) else 1


def _check(options: argparse.Namespace) -> int:
    """say which notebooks are fresh, stale or missing, and why; exit status 1 if not all fresh"""
    profile = Profile(options.profile)
    standings = {job.stem: job.standing() for job in plan(profile)}
    for stem, (state, reasons) in standings.items():
        since = "; ".join(reasons) if state == "stale" else ""
        print(f"{stem:<24}{state:<10}{since}".rstrip())
    behind = sum(state != "fresh" for state, _ in standings.values())
    if behind:
        own = profile.name == OWN
        command = "make notebook NB=NAME" if own else f"make replicate PROFILE={profile.name}"
        print(f"{behind} of {len(standings)} not fresh. Run them with: {command}")
    return 1 if behind else 0


def _verdicts(options: argparse.Namespace) -> int:
    """judge the paper's claims by the records at hand, and compare them with the published ones"""
    profile = Profile(options.profile)
    rows = judged(profile.root, profile.records)
    print(listed(rows))
    if compared := agreement(profile.root, profile.records):
        print(f"\n{text(compared)}\n\n{agreeing(compared)}")
    return 0


def _book(options: argparse.Namespace) -> int:
    """render the executed notebooks"""
    profile = Profile(options.profile)
    require_writable(profile.work)
    try:
        with locked(profile.work / "book.lock"):
            page = book.build(profile.root, profile.name, pdf=options.pdf)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Start page: {page}")
    if options.pdf:
        print(f"All pages: {page.with_name(book.PDF)}")
    return 0


def _readme(options: argparse.Namespace) -> int:
    """bring README.md up to date with the published evidence: verdicts, figure, costs"""
    for path in readme.refresh(Profile(EVIDENCE).root):
        print(f"Written anew: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
