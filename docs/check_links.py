"""Checks the links of the documentation that was made: files and places on pages that they name are there.

    python docs/check_links.py docs/_build/html
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the names of its places."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif value and (name == "id" or (name == "name" and tag == "a")):
                self.places.add(value)


@cache
def read(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


#: Templates of the theme, which are no pages.
NO_PAGES = "_static"
#: Sources, whose links back name places by one of the modules that a name is in, and lead to its page in any case.
SOURCES = "_modules"


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere within the documentation."""
    found = []
    is_source = SOURCES in page.parts
    for link in dict.fromkeys(read(page).links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if target.is_dir():
            target /= "index.html"
        place = "" if is_source else unquote(parts.fragment)
        if not target.is_file() or (place and target.suffix == ".html" and place not in read(target).places):
            found.append(link)
    return found


def main(folder: str) -> str | None:
    pages = sorted(page for page in Path(folder).rglob("*.html") if NO_PAGES not in page.parts)
    wrong = [f"{page.relative_to(folder)}: {link}" for page in pages for link in broken(page.resolve())]
    if not pages:
        return f"{folder} has no pages"
    if wrong:
        return "\n".join(["links that lead nowhere:", *wrong])
    print(f"{sum(len(read(page.resolve()).links) for page in pages)} links of {len(pages)} pages")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
