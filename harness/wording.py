"""Numbers in sentences, for every room."""


def number_of(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: "1 task", "3 tasks".

    Parameters
    ----------
    count
        How many.
    one, many
        The noun for one, and for any other number. Default of the latter: with an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
