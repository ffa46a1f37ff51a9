"""``harness doctor``: whether this installation can do its work."""

from __future__ import annotations

from harness.cli.options import Json
from harness.wording import number_of


def doctor(json: Json = False) -> None:
    """Check versions, device, encoder, cache and plugins."""
    from dataclasses import asdict

    from harness.cli.render import print_json, print_table
    from harness.errors import HarnessError
    from harness.plugin import PluginManager
    from harness.running.checkup import check_installation

    checks = check_installation(PluginManager())
    if json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [[check.name, "ok" if check.ok else "FAILED", check.detail] for check in checks]
        print_table("", ["check", "state", "detail"], rows, left=["check", "state", "detail"])
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise HarnessError(f"{len(failed)} of {number_of(len(checks), 'check')} failed: {', '.join(failed)}")
