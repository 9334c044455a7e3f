"""In the reference, parameters that share a line of a docstring have each their own type.

griffe gives all of `X, y, sample_weight` the annotation and the default of `X`.
"""

from __future__ import annotations

from typing import Any

from griffe import DocstringSectionParameters, Extension, Function


class OwnTypes(Extension):
    """Takes types that the docstring does not tell from the signature, one by one."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        if func.docstring is None:
            return
        taken = [parameter.annotation for parameter in func.parameters]
        for section in func.docstring.parsed:
            if not isinstance(section, DocstringSectionParameters):
                continue
            for parameter in section.value:
                if any(parameter.annotation is annotation for annotation in taken):
                    own = func.parameters[parameter.name]
                    parameter.annotation, parameter.value = own.annotation, own.default
