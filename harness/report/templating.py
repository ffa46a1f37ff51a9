"""How all pages are filled in: every text is escaped, and a name that is not there is an error."""

from __future__ import annotations

from typing import Any

from harness.wording import number_of


def environment(place: str = "templates", **options: Any) -> Any:
    """Return a Jinja environment of the templates in a folder of this package, with what all pages use.

    Parameters
    ----------
    place
        The folder, below ``harness/report``.
    **options
        More of ``jinja2.Environment``.
    """
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", place),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    made.filters["count"] = lambda value: f"{value:,}".replace(",", "\u202f")
    made.globals["number_of"] = number_of
    return made
