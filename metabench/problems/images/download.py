"""A downloader for pooch that resumes interrupted downloads; pooch checks the digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MOST_CONNECTIONS = 5  # of one call, before it gives up
CHUNK_BYTES = 2**16  # written at a time; an interruption loses no more
SECONDS_WITHOUT_DATA = 30.0  # after which a connection counts as broken


class ResumingDownloader:
    """Downloads a URL into a partial file, which is kept across broken connections and kills.

    Only missing bytes are requested (RFC 9110, section 14). If the file on the server has changed,
    or the server does not support ranges, the download starts again.
    """

    def __init__(self, part: Path) -> None:
        """Set the path of the partial file."""
        self._part, self._tag = part, part.with_name(f"{part.name}.tag")

    def __call__(
        self, url: str, output_file: str, pooch: object = None, check_only: bool = False
    ) -> None:
        """Download the URL, then move the file to `output_file`; the interface is pooch's.

        Args:
            url: to download.
            output_file: where to put the complete file.
            pooch: not used.
            check_only: not used.

        Raises:
            OSError: if the connection broke too often, or the server refuses; the part is kept.
        """
        import requests

        broken = (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        )
        for left in reversed(range(MOST_CONNECTIONS)):
            try:
                self._resume(requests, url)
                break
            except broken:
                if left == 0:
                    raise
        self._part.replace(output_file)
        self._tag.unlink(missing_ok=True)

    def _resume(self, requests: Any, url: str) -> None:
        """Request the missing bytes and append them to the partial file."""
        held = self._part.stat().st_size if self._part.is_file() else 0
        asked = {"Accept-Encoding": "identity"}
        if held:
            asked["Range"] = f"bytes={held}-"
            if self._tag.is_file():
                asked["If-Range"] = self._tag.read_text(encoding="utf-8")
        with requests.get(url, headers=asked, stream=True, timeout=SECONDS_WITHOUT_DATA) as answer:
            if answer.status_code == 416:  # nothing is missing, or the file has become shorter
                size = answer.headers.get("Content-Range", "").rpartition("/")[2]
                if size == str(held):
                    return
                self._part.unlink()
                raise requests.ConnectionError("the file on the server has changed; starting again")
            answer.raise_for_status()
            on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
                f"bytes {held}-"
            )
            # a weak tag does not guarantee equal bytes
            tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            if tag and not tag.startswith("W/"):
                self._tag.write_text(tag, encoding="utf-8")
            with self._part.open("ab" if on else "wb") as file:
                for piece in answer.iter_content(CHUNK_BYTES):
                    file.write(piece)
