"""Regenerate the bindings: ``python -m tools.bindgen --help`` (from the repository's root)."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.bindgen import facts, modules
from tools.bindgen.libraries import LIBRARIES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bindgen", description=__doc__.partition(":")[0])
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=f"of {', '.join(LIBRARIES)}; all by default")
    parser.add_argument("--headers", type=Path, metavar="FOLDER", help="read the facts anew from these headers")
    parser.add_argument("--earlier", type=Path, metavar="FOLDER", nargs="*", default=[],
                        help="headers of earlier versions, to know since when a function exists")  # fmt: skip
    parser.add_argument("--libclang", metavar="FILE", help="instead of the one that the package libclang brings")
    arguments = parser.parse_args()
    for module in arguments.libraries or LIBRARIES:
        if arguments.headers:
            facts.path(module).write_text(read(module, arguments.headers, arguments.earlier, arguments.libclang))
        target = modules.FOLDER / f"{module}.py"
        target.write_text(modules.source(LIBRARIES[module], facts.load(module)))
        print(target)


def read(module: str, newest: Path, earlier: list[Path], libclang: str | None = None) -> str:
    """The facts on one library from the headers, as they stand in the file."""
    from tools.bindgen import headers  # needs libclang, which regenerating from the facts does not

    headers.use_libclang(libclang)
    library = LIBRARIES[module]
    found = headers.read(library, newest)
    facts.add_history(found, [headers.read(library, folder) for folder in earlier if _has(folder, library.headers)])
    return facts.dump(found)


def _has(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).exists() for name in names)


if __name__ == "__main__":
    main()
