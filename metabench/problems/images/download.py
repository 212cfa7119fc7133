"""Downloads that go on where they broke off, as a downloader for pooch, which checks the digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MOST_CONNECTIONS = 5  # connections that may break off before a call gives up
CHUNK_BYTES = 2**16  # bytes written at a time, so that a break loses no more
SECONDS_WITHOUT_DATA = 30.0  # seconds without a byte after which a connection is broken


class ResumingDownloader:
    """Fetch a URL over HTTP into a file that outlives a broken connection, a kill and a reboot.

    What is there already isn't asked for again (RFC 9110, section 14). A server that holds another
    file by now, or knows no ranges, sends the whole, and the part is begun anew.
    """

    def __init__(self, part: Path) -> None:
        """Say where the part is kept until it is whole."""
        self._part, self._tag = part, part.with_name(f"{part.name}.tag")

    def __call__(
        self, url: str, output_file: str, pooch: object = None, check_only: bool = False
    ) -> None:
        """Fetch all of it, then put it at `output_file`.

        Raises:
            OSError: if the connection broke too often, or the server refuses; the part stays.
        """
        import requests

        broken = (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        )
        for left in reversed(range(MOST_CONNECTIONS)):
            try:
                self._go_on(requests, url)
                break
            except broken:
                if left == 0:
                    raise
        self._part.replace(output_file)
        self._tag.unlink(missing_ok=True)

    def _go_on(self, requests: Any, url: str) -> None:
        """Ask for what is missing and write it behind what is there."""
        held = self._part.stat().st_size if self._part.is_file() else 0
        asked = {"Accept-Encoding": "identity"}
        if held:
            asked["Range"] = f"bytes={held}-"
            if self._tag.is_file():
                asked["If-Range"] = self._tag.read_text(encoding="utf-8")
        with requests.get(url, headers=asked, stream=True, timeout=SECONDS_WITHOUT_DATA) as answer:
            if answer.status_code == 416:  # nothing is missing, or the file is shorter by now
                size = answer.headers.get("Content-Range", "").rpartition("/")[2]
                if size == str(held):
                    return
                self._part.unlink()
                raise requests.ConnectionError("the file there is another one; begin anew")
            answer.raise_for_status()
            on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
                f"bytes {held}-"
            )
            # a weak tag can't vouch for bytes
            tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            if tag and not tag.startswith("W/"):
                self._tag.write_text(tag, encoding="utf-8")
            with self._part.open("ab" if on else "wb") as file:
                for piece in answer.iter_content(CHUNK_BYTES):
                    file.write(piece)
