"""Python sessions in Markdown, run as doctests are."""

from __future__ import annotations

import doctest
import re


def sessions_of(text):
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def failures_of(session, name):
    """What a session gives other than it shows, as doctest tells it; it may write files here."""
    examples = doctest.DocTestParser().get_doctest(session, {}, name, name, 0)
    report = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples, out=report.append)
    return "".join(report)
