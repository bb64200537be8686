"""The command line: ``partialpool`` or ``python -m partialpool``."""

import argparse
import contextlib
import errno
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import partialpool

#: What to do when the system refuses a file.
REMEDIES = {
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP),
        "Rename or remove it.",
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Change who may write there."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status (0 good, 1 some run is not, 2 nothing was run)."""
    # jsonschema compiles a grammar for 2 s when this optional package is there; both notebooks
    # and Snakemake import it, and neither needs URLs checked.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["snakemake"]:  # used by `report`: modules for jobs, and Snakemake's options
        from partialpool.batch import nursery

        with nursery.beside(words[1].split(",")) if words[1] else contextlib.nullcontext():
            from snakemake.cli import main as snakemake

            if not sys.stdin.readline():  # the data have been found wrong
                return 0
            return int(snakemake(words[2:]) or 0)
    if "run" in words and "PARTIALPOOL_NURSERY" in os.environ:
        from partialpool.batch import nursery

        if (status := nursery.hand_over(words)) is not None:
            return status
    parser = _parser()
    extra: list[str] = []
    if "--" in words:
        cut = words.index("--")
        words, extra = words[:cut], words[cut + 1 :]
    options = parser.parse_args(words)
    if extra and options.command not in ("report", "lab"):
        parser.error(f"`{options.command}` takes no arguments after --")

    from partialpool.batch import study_file, surroundings
    from partialpool.data.paths import find_root, shown

    try:
        if options.command == "init":
            return _init(Path(options.folder))
        root = find_root(Path(options.root) if options.root else None)
        os.environ |= surroundings.environment(root)  # also what this process compiles is kept
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
        if options.command == "report":
            from partialpool.batch import batch

            return batch.report(root, options.studies, jobs=options.jobs, snakemake_args=extra)
        if options.command == "verify":
            from partialpool.batch import verification

            return verification.verify(root, options.studies)
        if options.command == "new":
            return _new(root, options)
        if options.command == "run":
            return _run(root, options)
        if options.command == "eject":
            return _eject(root, options.notebook)
        if options.command == "check":
            from partialpool.batch import study_data

            return study_data.check(root, options.studies)
        if options.command == "diff":
            from partialpool.batch import side_by_side

            print(side_by_side.compare(root, options.one, options.other))
            return 0
        if options.command == "preview":
            from partialpool.batch import preview

            return preview.preview(root, options.study, browser=not options.no_open)
        if options.command == "schema":
            from partialpool.batch import schema

            print(f"Wrote {shown(schema.write_schema(root))}.")
            return 0
        if options.command == "lab":
            surroundings.lab(root, extra)
        if options.command == "notebooks":
            from partialpool.batch import notebooks

            return 1 if notebooks.check(root, fix=options.fix) else 0
        from partialpool.batch import listing

        print(shown(listing.write_index(root)))
    except (study_file.StudyError, OSError) as error:  # such as a full disk
        print(_sentence(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _sentence(error: Exception) -> str:
    """What an error says; of the system's own errors, where, what and the remedy."""
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if not isinstance(error, OSError) or not error.strerror or not place:
        return str(error)
    from partialpool.data.paths import shown

    remedy = REMEDIES.get(error.errno or 0, "Look at this place.")
    return f"{shown(Path(os.fsdecode(place)))} cannot be used: {error.strerror}. {remedy}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="partialpool", description=(partialpool.__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    parser.add_argument("--root", help="the project's folder; default is found from where you are")
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make a project in a new or an empty folder")
    init.add_argument("folder", nargs="?", default=".", help="default is the current folder")
    report = commands.add_parser(
        "report",
        help="bring the pages of studies up to date",
        epilog="What follows -- is passed on to Snakemake.",
    )
    report.add_argument("studies", nargs="*", help="names or paths; default is all of params/")
    report.add_argument("--jobs", type=_positive, help="runs at a time; default: processors")
    new = commands.add_parser("new", help="write a study: partialpool new wages data.csv FORMULA")
    new.add_argument("name", help="the study's name; it is written to params/NAME.yml")
    new.add_argument("data", help="a CSV or Parquet file, a folder or glob of them, an example set")
    new.add_argument("formula", help='in quotes: "wage ~ experience + (experience | person)"')
    new.add_argument("--family", default="gaussian", help="of the response, such as binomial")
    new.add_argument("--se", help="column of known standard errors of the response")
    new.add_argument("--missing", default="refuse", help="rows without a value: refuse or drop")
    eject = commands.add_parser("eject", help="copy a notebook of the package into notebooks/")
    eject.add_argument("notebook", help="its name, such as regression")
    run = commands.add_parser("run", help="do one run of a study")
    run.add_argument("study", help="name or path of the study file")
    run.add_argument("run", help="the run's name, such as seed-0")
    run.add_argument("--threads", type=_positive, help="threads for numerical libraries")
    run.add_argument("--force", action="store_true", help="also if it is up to date")
    check = commands.add_parser("check", help="hold studies against their data, running nothing")
    check.add_argument("studies", nargs="*", help="names or paths; default is all of params/")
    preview = commands.add_parser("preview", help="make a page anew whenever its study changes")
    preview.add_argument("study", help="name or path of the study file; its first run is shown")
    preview.add_argument("--no-open", action="store_true", help="do not open the page")
    diff = commands.add_parser("diff", help="hold two finished runs side by side")
    diff.add_argument("one", help="a run's folder, or STUDY/RUN")
    diff.add_argument("other", help="the same")
    verify = commands.add_parser("verify", help="do finished runs again and compare the numbers")
    verify.add_argument("studies", nargs="*", help="names or paths; default is all of params/")
    commands.add_parser("schema", help="write what studies may say for editors: a JSON schema")
    commands.add_parser("index", help="write reports/index.html again")
    commands.add_parser("lab", help="open JupyterLab on notebooks/", epilog="-- as for `report`.")
    saved = commands.add_parser("notebooks", help="check that notebooks are saved clean and listed")
    saved.add_argument("--fix", action="store_true", help="take outputs out; write docs/studies.md")
    return parser


class _Version(argparse.Action):
    """Ask for the version only when somebody wants to know: that takes a tenth of a second."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print("partialpool", version("partialpool"))
        except PackageNotFoundError:
            print("partialpool is not installed: this is its source.")
        parser.exit()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _init(folder: Path) -> int:
    from partialpool.batch import project
    from partialpool.data.paths import shown

    made = shown(project.make(folder))
    place, step = ("this folder", "") if made == "." else (made, f"cd {shlex.quote(made)} && ")
    print(f"Made a project in {place}. Next: {step}make report")
    return 0


def _eject(root: Path, name: str) -> int:
    from partialpool.batch import project
    from partialpool.data.paths import shown

    try:
        copies = project.eject(root, name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Copied to {', '.join(shown(copy) for copy in copies)}.")
    return 0


def _new(root: Path, options: argparse.Namespace) -> int:
    from partialpool.batch import new_study
    from partialpool.data.paths import shown

    try:
        names = ("name", "data", "formula", "family", "se", "missing")
        path = new_study.new_study(**{name: getattr(options, name) for name in names}, root=root)
    except ValueError as error:  # of data, formula or name: one sentence, not a traceback
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {shown(path)}. Look at it, then: make report STUDY={options.name}")
    return 0


def _run(root: Path, options: argparse.Namespace) -> int:
    from partialpool.batch import execute, study_file
    from partialpool.report.page import reason

    runs = study_file.plan(root, study_file.find(root, [options.study]))
    chosen = [run for run in runs if run.name == options.run]
    if not chosen:
        names = ", ".join(run.name for run in runs)
        message = f"{options.study} has no run {options.run!r}; it has {names}."
        raise study_file.StudyError([message])
    summary = execute.execute(chosen[0], threads=options.threads, force=options.force)
    print(f"{summary['status']}: {chosen[0].label}  {reason(summary)}".rstrip())
    return 1 if summary["status"] == "error" else 0


if __name__ == "__main__":
    sys.exit(main())
