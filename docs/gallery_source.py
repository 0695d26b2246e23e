"""The files of `examples/` as sphinx-gallery wants them: in a folder for each group, each with a heading.

The first sentence of an example's docstring, up to its colon, is its heading.
"""

import re
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"

#: Beginning of the files' names (or several), heading, and a sentence about the group. A file belongs to the first that
#: fits.
GROUPS = (
    ("fft", "Transforms", "One transform or many, of any axes and layouts, real or complex."),
    ("matmul", "Products with epilogs", "Products of matrices with what libraries fuse into them."),
    (("structured", "banded"), "Products with structure", "Symmetric, triangular, diagonal matrices, and lists."),
    ("dense", "Dense systems", "Factorize a matrix of any structure, solve for right-hand sides."),
    ("tensor", "Contractions", "Contractions of two, three and any number of tensors."),
    ("sparse", "Sparse systems", "Plan for a pattern, factorize for values, solve for right-hand sides."),
    ("device", "Inside kernels", "Transforms, products, solvers and random numbers inside kernels of your own."),
    ("distributed", "Across processes", "Operands that are distributed over the processes of a job."),
    ("", "More", "Other packages' arrays, the tuning record, programs that were written for nvmath-python."),
)
#: Shown, but not run: they need a device, or change what `import nvmath` means in the whole process.
NOT_RUN = ("notebook_", "drop_in", "device_", "distributed_", "scipy_backend", "interfaces_")


def heading_of(sentence: str) -> str:
    """The first sentence of a docstring up to its first colon or semicolon, if that leaves two words or more."""
    short = re.split(r"[:;.](?:\s|$)", sentence.strip())[0]
    return short if " " in short else sentence.strip().rstrip(".")


def with_heading(source: str) -> str:
    """An example with a heading in its docstring, which sphinx-gallery asks for."""
    match = re.match(r'"""(.*?)"""', source, re.DOTALL)
    if match is None:
        raise ValueError("an example begins with a docstring")
    text = match.group(1).strip()
    heading = heading_of(text)
    return f'"""\n{heading}\n{"=" * len(heading)}\n\n{text}\n"""{source[match.end():]}'


def make(folder: Path) -> list[str]:
    """Write the gallery's sources; the folders of its groups, in order, from this one."""
    files = {file.stem: file for file in sorted(EXAMPLES.glob("*.py")) if not file.stem.startswith("notebook_")}
    made = []
    for prefix, title, about in GROUPS:
        members = [files.pop(name) for name in [*files] if name.startswith(prefix)]
        if not members:
            continue
        group = folder / ((prefix if isinstance(prefix, str) else prefix[0]) or "more")
        group.mkdir(parents=True, exist_ok=True)
        write(group / "README.txt", f"{title}\n{'-' * len(title)}\n\n{about}\n")
        for file in members:
            write(group / file.name, with_heading(file.read_text()))
        made.append(str(group.relative_to(Path(__file__).parent)))
    write(folder / "README.txt", "Gallery\n=======\n\nA short program for each feature, with what it prints.\n")
    return made


def write(file: Path, text: str) -> None:
    """Write a file where it is another than before, so that what did not change is not run again."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
