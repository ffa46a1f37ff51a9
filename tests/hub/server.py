"""A hub on this machine: repositories of a folder, spoken to by the hub's own library, with what it was asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A running hub.

    Parameters
    ----------
    root
        Holds ``OWNER/NAME``, a folder a repository.
    endpoint
        Its address, for ``HF_ENDPOINT``.
    fetched
        Paths of files that were sent, or of which a part was: (repository, path, first byte).
    cut
        After so many bytes of a file the connection is closed, unless it is asked for from later on.
    declared
        By repository: files that are said to be there, and their sizes.
    """

    root: Path
    endpoint: str = ""
    fetched: list[tuple[str, str, int]] = field(default_factory=list)
    cut: int | None = None
    declared: dict[str, dict[str, int]] = field(default_factory=dict)

    def environment(self, cache: Path) -> dict[str, str]:
        """Return the variables under which the hub's library speaks to this one."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    """Serve the repositories of a folder for as long as the context lasts."""
    hub = Hub(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self.describe("/".join(parts[2:4]), as_tree=parts[4:5] == ["tree"])
            elif "resolve" in parts:
                self.file("/".join(parts[:2]), "/".join(parts[4:]), body)
            else:
                self.refuse()

        def describe(self, name: str, as_tree: bool) -> None:
            folder = hub.root / name
            if not folder.is_dir():
                self.refuse("RepoNotFound")
                return
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
            sizes |= hub.declared.get(name, {})
            tree = [{"type": "file", "path": path, "size": size, "oid": COMMIT} for path, size in sizes.items()]
            siblings = [{"rfilename": path, "size": size} for path, size in sizes.items()]
            model = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []}
            answer = json.dumps(tree if as_tree else model).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def file(self, name: str, path: str, body: bool) -> None:
            place = hub.root / name / path
            if not place.is_file():
                self.refuse("EntryNotFound")
                return
            data = place.read_bytes()
            start = int(self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")[0])
            part = data[start:]
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if not body:
                return
            hub.fetched.append((name, path, start))
            if hub.cut is not None and start == 0 and len(part) > hub.cut:
                self.wfile.write(part[: hub.cut])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(part)

        def refuse(self, reason: str = "EntryNotFound") -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
