"""Archives from elsewhere: fetched with a checksum, unpacked without trusting a name in them."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from metabench.problems.images.download import ResumingDownloader
from metabench.settings.errors import InvalidInput

MOST_BYTES_UNPACKED = 64 * 2**30  # bytes an archive may unpack to


def cache() -> Path:
    """Give the folder downloads are kept in: METABENCH_CACHE, or the platform's own."""
    if given := os.environ.get("METABENCH_CACHE"):
        return Path(given)
    return Path(_pooch().os_cache("metabench"))


def fetch(url: str, digest: str) -> Path:
    """Give the file behind a URL, downloaded unless it is in the cache.

    A download that broke off goes on where it did, in this call or the next.

    Args:
        url: its last part is the file's name in the cache.
        digest: of its contents, `md5:...` or `sha256:...`.

    Returns:
        Its path.

    Raises:
        InvalidInput: if it can't be downloaded, with the place to put it, or isn't what it should
            be.
    """
    place = cache() / url.rpartition("/")[2]
    algorithm, _, expected = digest.partition(":")
    pooch = _pooch()
    if place.is_file() and pooch.file_hash(str(place), alg=algorithm) != expected:
        raise InvalidInput(
            f"{place} is not the file of {url} ({digest}): cut off or changed; remove it."
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        downloader = ResumingDownloader(place.with_name(f".{place.name}.part"))
        pooch.retrieve(url, digest, fname=place.name, path=place.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong hash is not
        cause = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
        raise InvalidInput(
            f"{url} can't be had ({cause}); download it elsewhere, to {place}."
        ) from error
    return place


def unpack(archive: Path, to: Path) -> Path:
    """Unpack a .zip or .tar into a folder that is there whole or not at all; give the folder.

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
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise InvalidInput(f"{archive} can't be unpacked ({error}); fetch it again.") from error
    finally:
        shutil.rmtree(inside, ignore_errors=True)
    return to


def _unzip(archive: Path, inside: Path) -> None:
    with zipfile.ZipFile(archive) as held:
        for member in held.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise InvalidInput(
                    f"{archive} holds a link, {member.filename!r}; it isn't unpacked."
                )
            _check_name(archive, member.filename)
        _check_size(archive, sum(member.file_size for member in held.infolist()))
        held.extractall(inside)


def _untar(archive: Path, inside: Path) -> None:
    with tarfile.open(archive) as held:
        members = held.getmembers()
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise InvalidInput(
                    f"{archive} holds a link or a device, {member.name!r}; it isn't unpacked."
                )
            _check_name(archive, member.name)
        _check_size(archive, sum(member.size for member in members))
        held.extractall(inside, filter="data")


def _check_name(archive: Path, name: str) -> None:
    """Refuse a name that would be written outside the folder, on any platform."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise InvalidInput(
            f"{archive} holds {name!r}, which leads outside its folder; it isn't unpacked."
        )


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
