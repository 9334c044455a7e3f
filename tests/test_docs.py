"""The documentation site: it builds without a warning, is whole, and shows what happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from daskmeans.edges.cli import main
from tests.sessions import failures_of, sessions_of
from tests.test_docstrings import OBJECTS

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
SHOWN = "".join(PAGES.values())

# Elements that make a browser fetch what they name.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class PageParser(HTMLParser):
    """Collects the ids, the links and the fetched addresses of a page."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.fetched = set(), set(), set()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if found.get("id") else set()
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])
        address = found.get(FETCHED.get(tag, ""))
        if address:
            self.fetched.add(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages, parsed, by their paths."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    # The theme otherwise advertises its successor.
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    pages = {}
    # A server shows 404.html at any address, so its links begin at the root of the server.
    for path in set(folder.rglob("*.html")) - {folder / "404.html"}:
        pages[path] = PageParser()
        pages[path].feed(path.read_text(encoding="utf-8"))
    assert len(pages) > 20
    return folder, pages


def test_every_public_name_has_its_entry(site):
    _, pages = site
    ids = set().union(*(page.ids for page in pages.values()))
    names = {name for name, (found, _) in OBJECTS.items() if not isinstance(found, property)}
    missing = {name for name in names if not entry_of(name) & ids}
    assert missing == set(), "write `::: NAME` into a page of docs/reference"


def entry_of(name):
    """Ids under which a name may be found: where it is defined, or where users import it from.

    The latter is a module, and not what is meant, where a module of that name is there. A method is
    in the entry of the class, inherited or not.
    """
    found, cls = OBJECTS[name]
    if cls is None:
        return {f"{found.__module__}.{found.__qualname__}"} | ({name} - sys.modules.keys())
    owner, _, method = name.rpartition(".")
    return {f"{entry}.{method}" for entry in entry_of(owner)}


def test_links_lead_to_a_page_and_a_place_on_it(site):
    folder, pages = site
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            known = pages.get(target)
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and known and anchor not in known.ids):
                broken.append(f"{path.relative_to(folder)}: {link}")
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site):
    folder, pages = site
    fetched = {address for page in pages.values() for address in page.fetched}
    styles = "".join(path.read_text() for path in folder.rglob("*.css"))
    fetched |= set(re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", styles))
    assert fetched
    assert [address for address in fetched if urlsplit(address).netloc] == []


def test_every_result_is_on_the_page_of_performance():
    results = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.md")}
    shown = re.findall(r"<!-- results: ([\w-]+) -->", PAGES["docs/performance.md"])
    assert sorted(shown) == sorted(results)


def test_every_command_has_its_help():
    shown = re.findall(r"<!-- help: (\w+) -->", PAGES["docs/guide/command-line.md"])
    assert sorted(shown) == sorted(main.commands)


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if ">>> " in text])
def test_sessions_give_what_they_show(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    for number, session in enumerate(sessions_of(PAGES[page])):
        assert failures_of(session, f"{page}, session {number}") == ""
    pyplot.close("all")


COMMANDS = sorted(set(re.findall(r"^    daskmeans (\w+) (.*)$", SHOWN, flags=re.MULTILINE)))


@pytest.mark.parametrize(("name", "arguments"), COMMANDS)
def test_command_lines_are_understood(name, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("incoming").mkdir()  # a folder to follow, in the examples
    command = main.commands[name]
    command.make_context(name, shlex.split(arguments))


def test_command_lines_are_found():
    assert {name for name, _ in COMMANDS} >= {"run", "fit", "predict", "stream", "info"}


def test_files_that_pages_name_are_there():
    named = set(re.findall(r"`((?:benchmarks|tests|notebooks|docs)/[\w/.-]+)`", SHOWN))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
