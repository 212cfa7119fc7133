"""Downloading archives with a checksum, and unpacking them safely."""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from metabench.problems.images.download import ResumingDownloader
from metabench.settings.errors import InvalidInput, NetworkFailure

MOST_BYTES_UNPACKED = 64 * 2**30  # that an archive may unpack to
MOST_MEMBERS = 5_000_000  # files and folders of an archive; ImageNet has 1.3 million
LONGEST_PART, LONGEST_NAME = 255, 1024  # of a name in an archive [bytes], [characters]
ENCRYPTED = 0x1  # flag of a zip's member
# what zipfile and tarfile raise where the content isn't what it says
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(NotImplementedError, ValueError, RuntimeError),
)
IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)


def cache() -> Path:
    """Return the folder of downloads: METABENCH_CACHE, or the platform's cache folder."""
    if given := os.environ.get("METABENCH_CACHE"):
        return Path(given)
    return Path(_pooch().os_cache("metabench"))


def fetch(url: str, digest: str) -> Path:
    """Download a file unless it is in the cache, and return its path.

    An interrupted download is resumed, in this call or the next.

    Args:
        url: its last part is the file's name in the cache.
        digest: of its contents, `md5:...` or `sha256:...`.

    Raises:
        InvalidInput: if a file that is there has another digest.
        NetworkFailure: if the file can't be downloaded, or its digest differs; the message says
            where to put it.
    """
    place = cache() / url.rpartition("/")[2]
    algorithm, _, expected = digest.partition(":")
    pooch = _pooch()
    if place.is_file() and pooch.file_hash(str(place), alg=algorithm) != expected:
        raise InvalidInput(
            f"{place} is truncated or changed, since its digest isn't that of {url} ({digest}); "
            "remove it."
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        downloader = ResumingDownloader(place.with_name(f".{place.name}.part"))
        pooch.retrieve(url, digest, fname=place.name, path=place.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong hash is not
        cause = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
        raise NetworkFailure(
            f"{url} could not be downloaded ({cause}); download it by other means to {place}."
        ) from error
    return place


def unpack(archive: Path, to: Path) -> Path:
    """Unpack a .zip or .tar into a new folder, atomically, and return the folder.

    Raises:
        InvalidInput: if the archive is damaged, or holds a link, a device, or a name that leads
            outside.
    """
    if to.is_dir():
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    inside = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}-"))
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, inside)
        else:
            _untar(archive, inside)
        inside.rename(to)
    except InvalidInput:
        raise
    except DAMAGED as error:
        raise InvalidInput(f"{archive} can't be unpacked ({error}); fetch it again.") from error
    except OSError as error:
        if error.errno not in IMPOSSIBLE:  # a full disk is no fault of the archive
            raise
        raise InvalidInput(
            f"{archive} can't be unpacked ({error.strerror}: {error.filename}); it holds names "
            "that this file system can't have."
        ) from error
    finally:
        shutil.rmtree(inside, ignore_errors=True)
    return to


def _unzip(archive: Path, inside: Path) -> None:
    with zipfile.ZipFile(archive) as held:
        _check_count(archive, len(held.infolist()))
        for member in held.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise InvalidInput(
                    f"{archive} holds a link, {member.filename!r}; it isn't unpacked."
                )
            if member.flag_bits & ENCRYPTED:
                raise InvalidInput(
                    f"{archive} is encrypted; unpack it by other means, and give the folder."
                )
            _check_name(archive, member.filename)
        _check_size(archive, sum(member.file_size for member in held.infolist()))
        held.extractall(inside)


def _untar(archive: Path, inside: Path) -> None:
    with tarfile.open(archive) as held:
        members, size = list[tarfile.TarInfo](), 0
        for member in held:
            if not (member.isfile() or member.isdir()):
                raise InvalidInput(
                    f"{archive} holds a link or a device, {member.name!r}; it isn't unpacked."
                )
            _check_name(archive, member.name)
            members.append(member)
            size += member.size
            _check_count(archive, len(members))
            _check_size(archive, size)
        held.extractall(inside, members, filter="data")


def _check_name(archive: Path, name: str) -> None:
    """Raise InvalidInput for a name that would be written outside the folder, or can't be."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise InvalidInput(
            f"{archive} holds {name!r}, which leads outside its folder; it isn't unpacked."
        )
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_PART or len(name) > LONGEST_NAME:
        raise InvalidInput(
            f"{archive} holds a name of {len(name):,} characters, {name[:40]!r}..; it isn't "
            "unpacked."
        )


def _check_count(archive: Path, members: int) -> None:
    if members > MOST_MEMBERS:
        raise InvalidInput(f"{archive} holds more than {MOST_MEMBERS:,} files; it isn't unpacked.")


def _check_size(archive: Path, size: int) -> None:
    if size > MOST_BYTES_UNPACKED:
        raise InvalidInput(f"{archive} would unpack to {size / 2**30:.0f} GiB; it isn't unpacked.")


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise InvalidInput(
            "Downloads need the package pooch: pip install 'metabench[data]'; or set "
            "METABENCH_CACHE to a folder that holds the files."
        ) from error
    return pooch
