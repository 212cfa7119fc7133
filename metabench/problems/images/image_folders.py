"""Reading class directories of images, or the images listed in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.problems.images.n_way_k_shot import Pool
from metabench.settings.errors import InvalidInput

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}


def classes_below(folder: Path) -> dict[str, list[Path]]:
    """Return the sorted images of each folder that has any, by its path below `folder`.

    Raises:
        InvalidInput: if the folder does not exist or holds no class directories.
    """
    if not folder.is_dir():
        raise InvalidInput(
            f"The folder {str(folder)!r} does not exist; give a folder of class directories."
        )
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if path.suffix.lower() in ENDINGS and path.is_file() and not hidden:
            found.setdefault(str(path.parent.relative_to(folder)), []).append(path)
    if not found or set(found) == {"."}:
        raise InvalidInput(
            f"{folder} holds no class directories; it needs a folder of images for each class."
        )
    return found


def classes_listed(listing: Path, images: Path) -> dict[str, list[Path]]:
    """Return the images of each class in a CSV with the columns filename and label.

    mini-ImageNet comes with such lists
    (Ravi & Larochelle, 2017, https://openreview.net/forum?id=rJY0-Kcll).

    Raises:
        InvalidInput: if a column or a file is missing.
    """
    found: dict[str, list[Path]] = {}
    with listing.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if not line.get("filename") or not line.get("label"):
                raise InvalidInput(f"{listing} needs the columns filename and label.")
            path = images / line["filename"]
            if not path.is_file():
                raise InvalidInput(f"{listing} names {line['filename']}, which isn't in {images}.")
            found.setdefault(line["label"], []).append(path)
    if not found:
        raise InvalidInput(f"{listing} lists no images.")
    return found


def read_classes(classes: Mapping[str, Sequence[Path]], side: int, channels: int) -> Pool:
    """Read the images of each class.

    Args:
        classes: paths of the images of each class.
        side: width and height to scale to [pixels].
        channels: 3: color, 1: gray.

    Raises:
        InvalidInput: if a file can't be read as an image.
    """
    images = [read_image(path, side, channels) for paths in classes.values() for path in paths]
    counts = np.array([len(paths) for paths in classes.values()])
    return Pool(np.stack(images), counts, tuple(classes))


def read_image(path: Path, side: int, channels: int) -> NDArray[np.uint8]:
    """Read one image `(channels, side, side)`.

    Args:
        path: of the image.
        side: width and height to scale to [pixels].
        channels: 3: color, 1: gray.

    Raises:
        InvalidInput: if the file is not an image, or is truncated.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            made = image.convert("RGB" if channels == 3 else "L")
            if made.size != (side, side):
                made = made.resize((side, side), Image.Resampling.LANCZOS)
            pixels = np.asarray(made, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(
            f"{path} can't be read as an image ({error}); replace or remove it."
        ) from error
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
