"""Is an archive that must not or can't be unpacked refused in a sentence, with nothing left?"""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from metabench.problems.images import archives
from metabench.settings.errors import InvalidInput


def zipped(path, names, content=b"x"):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)


def tarred(path, names, content=b"x"):
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


MAKERS = {"zip": zipped, "tar": tarred}
NAMES = {
    "outside": (["../evil"], "leads outside"),
    "outside, backwards": (["a\\..\\..\\evil"], "leads outside"),
    "absolute": (["/tmp/evil"], "leads outside"),
    "a drive": (["C:evil"], "leads outside"),
    "a part too long": (["a" * 300], "a name of 300 characters"),
    "a name too long": (["/".join(["abcdefgh"] * 200)[1:]], "characters"),
    "a file as a folder": (["a", "a/b"], "can't be unpacked"),
}


def refused(path, to, words):
    with pytest.raises(InvalidInput, match=words) as error:
        archives.unpack(path, to)
    assert path.name in str(error.value)
    assert not to.exists()
    assert list(to.parent.iterdir()) == [path]  # no half of it, nothing outside


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("case", NAMES)
def test_names_that_lead_outside_or_cant_be(tmp_path, kind, case):
    names, words = NAMES[case]
    path = tmp_path / f"data.{kind}"
    MAKERS[kind](path, names)

    refused(path, tmp_path / "data", words)


@pytest.mark.parametrize("kind", MAKERS)
def test_too_many_members_and_too_many_bytes(tmp_path, monkeypatch, kind):
    path = tmp_path / f"data.{kind}"
    MAKERS[kind](path, map(str, range(20)), b"x" * 100)

    with monkeypatch.context() as limited:
        limited.setattr(archives, "MOST_MEMBERS", 10)
        refused(path, tmp_path / "data", "more than 10 files")
    monkeypatch.setattr(archives, "MOST_BYTES_UNPACKED", 1000)
    refused(path, tmp_path / "data", "would unpack to")


def test_an_encrypted_zip(tmp_path):
    path = tmp_path / "data.zip"
    zipped(path, ["a"])
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(bytes(content))

    refused(path, tmp_path / "data", "is encrypted; unpack it by other means")


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("damage", ["cut", "changed", "text", "empty"])
def test_damaged_archives(tmp_path, kind, damage):
    path = tmp_path / f"data.{kind}"
    MAKERS[kind](path, ["a", "b"], bytes(range(256)) * 20)
    whole = path.read_bytes()
    middle = len(whole) // 2
    made = {"cut": whole[:middle], "text": b"no archive" * 100, "empty": b"",
            "changed": whole[:20] + b"\xff" * 400 + whole[420:]}  # fmt: skip
    path.write_bytes(made[damage])

    refused(path, tmp_path / "data", "can't be unpacked")


@pytest.mark.parametrize("method", [99, 14])
def test_a_compression_that_python_lacks_or_that_is_damaged(tmp_path, method):
    path = tmp_path / "data.zip"
    zipped(path, ["a"])
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(mark) + offset] = method
    path.write_bytes(bytes(content))

    refused(path, tmp_path / "data", "can't be unpacked")
