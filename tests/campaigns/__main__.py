"""``python -m tests.campaigns NAME [--count N] [--seed S]``: run a campaign and print its table."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))

parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
parser.add_argument("name", choices=NAMES)
parser.add_argument("--count", type=int, help="How many are tried. Default: the campaign's own.")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
campaign = importlib.import_module(f"tests.campaigns.{options.name}")
raise SystemExit(campaign.main(options.count or campaign.COUNT, options.seed))
