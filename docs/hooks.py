"""What the pages take from elsewhere in the repository, when the site is built.

Results of benchmarks, the command line's help, public names, the sources of tests, the notebooks,
and the pages that stand beside the README. mkdocs calls the functions whose names begin with `on_`.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from click import Context
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

from daskmeans.edges.cli import main

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

# As they are written in a page: `<!-- results: peers -->`, `<!-- help: fit -->`,
# `<!-- names: daskmeans.metrics -->`, and a link to `../tests/test_layers.py`, which works where
# the repository is browsed as well.
RESULT = re.compile(r"^<!-- results: ([\w-]+) -->$", re.MULTILINE)
HELP = re.compile(r"^<!-- help: (\w+) -->$", re.MULTILINE)
NAMES = re.compile(r"^<!-- names: ([\w.]+) -->$", re.MULTILINE)
SOURCE = re.compile(r"\]\((?:\.\./)+(tests/[\w/]+\.py)\)")


def on_config(config: Any) -> None:
    """List the notebooks after the guide."""
    notebooks = [str(path.relative_to(ROOT)) for path in NOTEBOOKS]
    if notebooks:
        place = next(i for i, entry in enumerate(config.nav) if "Guide" in entry) + 1
        config.nav.insert(place, {"Notebooks": notebooks})


@event_priority(100)  # before the plugin that makes pages of notebooks
def on_files(files: Files, config: Any) -> Files:
    """Add files that are not in docs/."""
    linked = {path for file in files for path in SOURCE.findall(_text(file))}
    for path in sorted(linked):
        content = f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n```python\n{_read(path)}```\n"
        files.append(File.generated(config, _source_page(path), content=content))
    for page, path in PAGES.items():
        files.append(File.generated(config, page, content=_read(path)))
    for picture in RESULTS.glob("*.png"):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    for notebook in NOTEBOOKS:
        path = str(notebook.relative_to(ROOT))
        files.append(
            File(path, str(ROOT), config["site_dir"], use_directory_urls=config.use_directory_urls)
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in results, help and names, and let links to tests lead to pages of their sources."""
    up = "../" * page.file.src_uri.count("/")
    markdown = RESULT.sub(lambda found: _result(found[1], up), markdown)
    markdown = HELP.sub(lambda found: _help(found[1]), markdown)
    markdown = NAMES.sub(lambda found: _entries(found[1]), markdown)
    return SOURCE.sub(lambda found: f"]({up}{_source_page(found[1])})", markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Let links of notebooks, which lead to files of the repository, lead to their pages."""
    if not page.file.src_uri.startswith("notebooks/"):
        return html
    html = re.sub(r'href="\.\./docs/([\w/-]+)\.md', r'href="../\1.html', html)
    return re.sub(r'href="([\w-]+)\.ipynb', r'href="\1.html', html)


def _result(name: str, up: str) -> str:
    """Return a table of results without its title; its headings go one level down."""
    path = RESULTS / f"{name}.md"
    if not path.exists():
        raise PluginError(f"There is no benchmarks/results/{name}.md to put into a page.")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^# .*\n+", "", text)
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    return re.sub(r"\]\((\w[\w-]*\.png)\)", rf"]({up}results/\1)", text)


def _help(name: str) -> str:
    """Return what `daskmeans NAME --help` prints."""
    command = main.commands[name]
    context = Context(command, info_name=f"daskmeans {name}", terminal_width=88)
    return f"```text\n{command.get_help(context)}\n```"


def _entries(module: str) -> str:
    """Return an entry of the reference for each public name of a module."""
    found = [getattr(import_module(module), name) for name in import_module(module).__all__]
    # By where it is defined: `metrics.evaluate` is a function, and the module that it is in.
    return "\n\n".join(f"::: {entry.__module__}.{entry.__qualname__}" for entry in found)


def _source_page(path: str) -> str:
    return f"sources/{path.removesuffix('.py')}.md"


def _text(file: File) -> str:
    return file.content_string if file.src_uri.endswith(".md") else ""


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
