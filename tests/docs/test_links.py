"""Every link within the documentation leads somewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .pages import DOCS, PAGES, ROOT

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside the tests")

OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
_FENCE = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the web hosts and the site make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 1
        unique = anchor
        while unique in found:
            unique = f"{anchor}-{number}"
            number += 1
        found.add(unique)
    return found


def links(path: Path) -> list[str]:
    text = _FENCE.sub("", path.read_text("utf-8"))
    return [a or b for a, b in _LINK.findall(re.sub(r"`[^`\n]*`", "", text))]


@pytest.mark.parametrize(
    "path", [pytest.param(one, id=str(one.relative_to(ROOT))) for one in [*PAGES, *OTHERS] if one.exists()]
)
def test_each_link_of_a_page_leads_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = Path(os.path.normpath(path.parent / name)) if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert not broken


def test_every_page_can_be_reached_from_the_first() -> None:
    first = DOCS / "index.md"
    seen, waiting = set(), [first]
    while waiting:
        path = waiting.pop()
        if path in seen or path.suffix != ".md" or not path.exists():
            continue
        seen.add(path)
        waiting += [
            Path(os.path.normpath(path.parent / link.partition("#")[0])) for link in links(path) if "://" not in link
        ]
    assert {path for path in PAGES if path.is_relative_to(DOCS)} <= seen


@pytest.mark.parametrize("path", [pytest.param(one, id=one.name) for one in PAGES if one.is_relative_to(DOCS)])
def test_a_page_of_the_site_links_to_nothing_outside_it(path: Path) -> None:
    # The site has what is in docs, and nothing else.
    inside = [link for link in links(path) if "://" not in link and link.partition("#")[0]]
    assert not [link for link in inside if not Path(os.path.normpath(path.parent / link)).is_relative_to(DOCS)]
