"""Pages from templates; ``shared.*`` beside this file are the parts that all pages have."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grulight.files import written_whole
from grulight.trace.numbers import fitted

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

Context = dict[str, Any]  # what a template says, by the names that it has for it


def write_template(path: str | Path, template: Path, **context: Any) -> None:
    """Fill in a template and write the page; every text is escaped.

    Raises:
        InputError: The file cannot be written.
    """
    page = _compiled(template).render(context)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


@cache
def _compiled(template: Path) -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"breakable": breakable, "fitted": fitted}
    return templates.get_template(template.name)


def breakable(name: str) -> "Markup":
    """Let a long name break after its dots, slashes and underscores, and nowhere else."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([._/])", r"\1<wbr>", str(escape(name))))
