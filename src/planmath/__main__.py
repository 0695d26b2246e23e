"""The command line: ``python -m planmath``, or ``planmath``."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

DESCRIPTION = "Plan a math operation once, execute it many times."
EPILOG = """examples:
  planmath info                     what planmath finds on this machine
  planmath demo                     see it work (needs: pip install 'planmath[demo]')
  planmath run script.py --size 8   run a program written for nvmath-python
  planmath tune script.py           run a program, and tune the operations that it plans
"""
RUN_DESCRIPTION = """Run a Python program with `import nvmath`, and every submodule of it, meaning planmath.
Everything after the script's or module's name is passed on to it."""
TUNE_DESCRIPTION = """Run a Python program, and measure for each operation that it plans which algorithm is the fastest,
on the program's own operands. The next run of the program takes what was chosen from the tuning record."""
BENCH_DESCRIPTION = """Measure planmath against other libraries. The benchmark is part of the repository, not of the
package: run `make bench` in a clone, which installs the libraries to compare with. In a clone, this command runs
`python -m bench` in the present environment and passes its arguments on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status.
    """
    parser = command_line()
    options, rest = parser.parse_known_args(arguments)
    if rest and getattr(options, "command", None) is not run_bench:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    if not hasattr(options, "command"):
        parser.print_help()
        return 2
    try:
        return int(options.command(options) or 0)
    except CommandError as error:
        print(f"planmath: {error}", file=sys.stderr)
        return 2


class CommandError(Exception):
    """What the user asked for cannot be done; the message says why."""


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands; a command's function stands in the option `command`."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="planmath", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"planmath {version('planmath')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    info = commands.add_parser("info", help="show the libraries found, this machine and the tuning record")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.add_argument("--html", type=Path, metavar="FILE", help="as a page, with the tuning record")
    info.set_defaults(command=show_info)

    demo = commands.add_parser("demo", help="filter a photograph, classify digits, time the ways to call planmath")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for pictures (%(default)s)")
    demo.set_defaults(command=run_demo)

    run = commands.add_parser(
        "run", help="run a program written for nvmath-python", description=RUN_DESCRIPTION,
        usage="planmath run [-h] (SCRIPT | -m MODULE) [ARGUMENT ...]",
    )  # fmt: skip
    module = "MODULE [ARGUMENT ...]: run a module, not a file"
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help=module)
    run.add_argument("script", nargs="?", metavar="SCRIPT", help="a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="passed on")
    run.set_defaults(command=run_program)

    tune = commands.add_parser(
        "tune", help="run a program, and tune the operations that it plans", description=TUNE_DESCRIPTION,
        usage="planmath tune [-h] [--seconds S] [--again] (SCRIPT | -m MODULE) [ARGUMENT ...] | --show",
    )  # fmt: skip
    tune.add_argument("--show", action="store_true", help="show the tuning record of this machine")
    tune.add_argument("--seconds", type=float, metavar="S", help="for each operation (as in autotune(seconds=...))")
    tune.add_argument("--again", action="store_true", help="measure also what the record has already")
    tune.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help=module)
    tune.add_argument("script", nargs="?", metavar="SCRIPT", help="a Python file")
    tune.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="passed on")
    tune.set_defaults(command=tune_program)

    bench = commands.add_parser(
        "bench", help="measure planmath against other libraries", description=BENCH_DESCRIPTION,
        usage="planmath bench [-h] [ARGUMENT ...]",
    )  # fmt: skip
    bench.set_defaults(command=run_bench)
    return parser


def show_info(options: argparse.Namespace) -> None:
    from planmath.report import info

    facts = info.gather()
    if options.html is not None:
        options.html.write_text(info.page_of(facts), encoding="utf-8")
        print(options.html)
        return
    print(json.dumps(asdict(facts), indent=1) if options.json else info.render(facts))


def run_demo(options: argparse.Namespace) -> None:
    from planmath import demo

    try:
        demo.run(options.output)
    except demo.MissingPackageError as error:
        raise CommandError(str(error)) from None


def run_program(options: argparse.Namespace, command: str = "run") -> None:
    from planmath.dropin import install_as_nvmath

    install_as_nvmath()
    if options.module is not None:
        if not options.module:
            raise CommandError(f"-m needs a module's name, as in: planmath {command} -m package.module")
        name, *rest = options.module
        sys.argv[:] = [name, *rest]
        sys.path.insert(0, os.getcwd())
        try:
            exists = find_spec(name) is not None
        except ModuleNotFoundError:  # of the package that should hold it
            exists = False
        if not exists:
            raise CommandError(f"there is no module {name!r} to run")
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif options.script:
        if not os.path.isfile(options.script):
            raise CommandError(f"there is no file {options.script!r} to run")
        sys.argv[:] = [options.script, *options.arguments]
        sys.path.insert(0, os.path.dirname(os.path.abspath(options.script)))
        runpy.run_path(options.script, run_name="__main__")
    else:
        raise CommandError(f"{command} needs a script, as in: planmath {command} script.py (or -m and a module's name)")


def tune_program(options: argparse.Namespace) -> None:
    from planmath import tuning
    from planmath.core.tuning import collecting
    from planmath.core.tuning.budget import checked
    from planmath.report.tune import Tuner

    if options.show:
        print(tuning.show())
        return
    try:
        tuner = Tuner(checked(options.seconds), again=options.again)
    except ValueError as error:
        raise CommandError(f"--{error}") from None
    try:
        with collecting.told(tuner.tell):
            run_program(options, "tune")
    finally:
        print(tuner.report(), file=sys.stderr)


def run_bench(options: argparse.Namespace) -> int:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "bench" / "__main__.py").is_file():
        raise CommandError("the benchmark is in planmath's repository, not in the package; run `make bench` in a clone")
    print(f"Measuring in this environment; `make bench` in {checkout} makes one with all the peers.", flush=True)
    return subprocess.call([sys.executable, "-m", "bench", *options.rest], cwd=checkout)


if __name__ == "__main__":
    sys.exit(main())
