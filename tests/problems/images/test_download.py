"""Does a download that breaks off go on where it did, and end as what its digest says?"""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from metabench.problems.images import archives, download
from metabench.settings.errors import NetworkFailure

pytest.importorskip("pooch")
pytest.importorskip("requests")

CONTENT = np.random.default_rng(0).bytes(400_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Sends a file, and hangs up after so many bytes as often as asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.ranges = CONTENT, '"one"', True
        self.breaks: list[int] = []  # bytes after which the next answers break off
        self.asked: list[tuple[str, int]] = []  # the range of each request, and the bytes sent


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range", "")
        start = int(wanted[6:-1]) if wanted and server.ranges else 0
        if self.headers.get("If-Range", server.tag) != server.tag:
            start = 0
        content = server.content
        if start >= len(content):
            server.asked.append((wanted, 0))
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", whole)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", server.tag)
        self.end_headers()
        stop = start + server.breaks.pop(0) if server.breaks else len(content)
        server.asked.append((wanted, min(stop, len(content)) - start))
        self.wfile.write(content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path))
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def fetch(server):
    return archives.fetch(f"http://127.0.0.1:{server.server_port}/file.zip", DIGEST)


def test_a_connection_that_breaks_off_once_is_taken_up_where_it_broke(server):
    server.breaks = [150_000]

    assert fetch(server).read_bytes() == CONTENT

    (first, sent), (second, rest) = server.asked
    assert (first, sent) == ("", 150_000)
    assert second == f"bytes={len(CONTENT) - rest}-"
    assert 0 < rest < len(CONTENT) - 60_000  # what arrived isn't sent again
    assert [path.name for path in archives.cache().iterdir()] == ["file.zip"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, monkeypatch):
    monkeypatch.setattr(download, "MOST_CONNECTIONS", 1)
    server.breaks = [150_000]
    with pytest.raises(NetworkFailure, match="could not be downloaded"):
        fetch(server)
    assert not (archives.cache() / "file.zip").exists()

    assert fetch(server).read_bytes() == CONTENT

    assert server.asked[1][0].startswith("bytes=")
    assert server.asked[1][1] < len(CONTENT)


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(server):
    server.ranges, server.breaks = False, [150_000]

    assert fetch(server).read_bytes() == CONTENT
    assert [sent for _, sent in server.asked] == [150_000, len(CONTENT)]


def test_a_file_that_changed_meanwhile_is_not_mixed_with_what_was_there(server, monkeypatch):
    monkeypatch.setattr(download, "MOST_CONNECTIONS", 1)
    server.content, server.tag, server.breaks = bytes(400_000), '"old"', [150_000]
    with pytest.raises(NetworkFailure, match="could not be downloaded"):
        fetch(server)
    server.content, server.tag = CONTENT, '"one"'

    assert fetch(server).read_bytes() == CONTENT
    assert server.asked[1][1] == len(CONTENT)


def test_a_part_that_is_whole_already_is_only_checked(server):
    (archives.cache() / ".file.zip.part").write_bytes(CONTENT)

    assert fetch(server).read_bytes() == CONTENT
    assert server.asked == [(f"bytes={len(CONTENT)}-", 0)]


def test_what_does_not_match_its_digest_is_refused_and_not_kept(server):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(NetworkFailure, match="could not be downloaded"):
        fetch(server)
    assert list(archives.cache().iterdir()) == []

    server.content = CONTENT
    assert fetch(server).read_bytes() == CONTENT


def test_a_server_that_always_breaks_off_is_given_up(server):
    server.breaks = [0] * 100
    with pytest.raises(NetworkFailure, match="could not be downloaded"):
        fetch(server)
    assert len(server.asked) == download.MOST_CONNECTIONS
