"""How a published document is worded and rounded, for its table and for its page alike."""

from __future__ import annotations

from harness.scoring.groups import doubts
from harness.store.published import PublishedDocument, PublishedRow

SYNTHETIC = "This data is synthetic, made on the spot:"
SYNTHETIC_SO = "scores on it mean nothing for Stable Diffusion."
TIED = "≈: these rows cannot tell it from the first; the 95 % interval of the difference, paired by row, contains 0."
OUT_OF_DOMAIN = "The bundled tiny weights: they have only ever seen synthetic scenes, and this data is something else."
SCORES = (
    "Scores are out-of-fold mean cosines with the MiniLM embeddings of the prompts; 95 % intervals come from a "
    "bootstrap over groups."
)
NESTED = (
    "Nested is what to expect of one fold's models, and at least of the average of all folds' that is submitted: "
    "the mean over rows whose fold took no part in learning the weights. Fitted is the score on the rows the "
    "weights were learned on."
)
RESIDUAL = (
    "The KKT residual is 0 where no small change of the weights helps; only a method that claims to be optimal has one."
)
NONE = "–"


def figure(value: float | None) -> str:
    """Round a score to four decimals; what does not exist is a dash."""
    return NONE if value is None else f"{value:z.4f}"


def interval(low: float | None, high: float | None) -> str:
    """Round both ends of a score's interval."""
    return NONE if low is None or high is None else f"{low:z.4f} … {high:z.4f}"


def gain(value: float) -> str:
    """Round a difference, with its sign."""
    return f"{value:+z.4f}"


def gain_interval(low: float | None, high: float | None) -> str:
    """Round both ends of a difference's interval."""
    return NONE if low is None or high is None else f"{gain(low)} … {gain(high)}"


def weight(value: float) -> str:
    """Round a weight."""
    return f"{value:z.3f}"


def residual(value: float | None) -> str:
    """Round a KKT residual to its power of ten."""
    return NONE if value is None else f"{value:.0e}"


def rate(value: float) -> str:
    """Round a number of images a second."""
    return f"{value:.{1 if value < 100 else 0}f}"


def seconds(value: float) -> str:
    """Round a training time."""
    return f"{value:.1f}"


def behind(row: PublishedRow) -> str:
    """Write how far a member is behind the first, with a mark where that may be chance; empty for the first."""
    found = row.behind_leader
    return "" if found is None else ("≈ " if row.tied_with_leader else "") + figure(found.mean)


def apart(document: PublishedDocument) -> str:
    """Say what the folds keep apart."""
    folds = document.folds
    said = f"prompts with a cosine of {folds.threshold:g} or more are never on both sides of a fold"
    return f"a fold holds out whole sources, and {said}" if folds.split == "source" else said


def purged(document: PublishedDocument) -> str:
    """Say how many rows were purged; empty where none was."""
    total = sum(document.folds.purged)
    return f"{total} training rows purged, summed over the folds" if total else ""


def recall(document: PublishedDocument) -> str:
    """Say how many of the near prompts were found, where it was not all; else empty."""
    found = document.folds.recall
    return "" if found == 1.0 else f"The search found {found:.1%} of the near prompts, not all."


def document_doubts(document: PublishedDocument) -> list[str]:
    """Return, as sentences, why intervals or scores say less than they seem to."""
    return [sentence(doubt) for doubt in doubts(document.rows, document.dataset.texts)]


def sentence(words: str) -> str:
    """Begin with a capital and end with a full stop."""
    return f"{words[0].upper()}{words[1:]}."
