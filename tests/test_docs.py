"""The code on the pages of the documentation runs as it stands, page by page."""

import json
import re
from pathlib import Path

import pytest

from tests.test_examples import run

DOCS = Path(__file__).parent.parent / "docs"
#: Pages of prose, and those whose blocks are parts of something larger.
WITHOUT = ("architecture.md", "_build", "gallery", "verification")
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not any(name in page.parts for name in WITHOUT)]


def blocks_of(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.stem)
def test_page(page, tmp_path):
    program = tmp_path / "page.py"
    program.write_text("\n".join([*blocks_of(page), "print('done')"]))
    run(program, tmp_path)


@pytest.mark.parametrize("notebook", sorted((DOCS / "notebooks").glob("*.ipynb")), ids=lambda file: file.stem)
def test_notebook(notebook, tmp_path):
    """Its cells run one after the other; results are made when the documentation is, and not stored."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    program = tmp_path / "notebook.py"
    program.write_text("\n".join("".join(cell["source"]) for cell in cells))
    run(program, tmp_path)


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.stem)
def test_links_to_files(page):
    """What a page links to in the repository is there."""
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        target = page.parent / target
        made = "gallery" in target.parts or "figures" in target.parts  # when the documentation is made
        assert made or target.exists() or target.with_suffix(".md").exists(), target
