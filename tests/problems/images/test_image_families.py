"""Do image families deal what their folders hold, and refuse what would go wrong?"""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from metabench.families import omniglot
from metabench.families.folder import Folder
from metabench.families.omniglot import Omniglot
from metabench.problems.images import archives
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput
from metabench.testing import check_family

CLASSES, EACH, SIDE = 25, 8, 16


def gray(class_, image):
    """An image whose every pixel names its class and number."""
    return np.full((SIDE, SIDE, 3), (10 * class_ % 250, image * 20, class_), np.uint8)


def write(folder, classes=range(CLASSES), each=EACH, made=gray):
    for c in classes:
        place = folder / f"class{c:02d}"
        place.mkdir(parents=True)
        for i in range(each):
            Image.fromarray(made(c, i)).save(place / f"{i}.png")
    return folder


def small(path, **settings):
    made = {"ways": 3, "shots": 1, "queries": 2, "side": SIDE, "filters": 4, **settings}
    return Folder(path=str(path), **made)


def test_a_folder_keeps_the_contract_of_families(tmp_path):
    check_family(small(write(tmp_path / "all")))


def test_tasks_hold_images_of_their_class_once_each(tmp_path):
    family = small(write(tmp_path / "all"), shots=4, queries=4)

    (x, y), (query, labels) = family.sample(Address.fresh(0, 30), 0)[:2]

    both = torch.cat([x, query], 1) * 255
    names = (both[:, :, 2, 0, 0] + 0.5).long()  # blue names the class
    numbers = (both[:, :, 1, 0, 0] / 20 + 0.5).long()
    each = torch.cat([y, labels], 1)
    for t in range(30):
        pairs = {(int(c), int(i)) for c, i in zip(names[t], numbers[t], strict=True)}
        assert len(pairs) == 3 * 8  # no image twice, in support or query
        by_label = {int(label): set(names[t][each[t] == label].tolist()) for label in range(3)}
        assert all(len(classes) == 1 for classes in by_label.values())
        assert len(set.union(*by_label.values())) == 3


def test_splits_share_no_class_and_follow_folders_or_lists_where_there_are_any(tmp_path):
    path = write(tmp_path / "all")
    held = {
        split: set(small(path, split=split)._pool().names) for split in ("train", "val", "test")
    }
    assert [len(names) for names in held.values()] == [16, 4, 5]
    assert not held["train"] & held["val"]
    assert not (held["train"] | held["val"]) & held["test"]

    for split, classes in (("train", range(5)), ("test", range(5, 9))):
        write(tmp_path / "split" / split, classes)
    assert small(tmp_path / "split", split="test")._pool().names[0] == "class05"

    listed = tmp_path / "listed"
    write(listed / "images", range(3))
    lines = [f"class0{c}/{i}.png,n0{c}" for c in range(3) for i in range(EACH)]
    (listed / "train.csv").write_text("\n".join(["filename,label", *lines]))
    assert small(listed)._pool().names == ("n00", "n01", "n02")
    (listed / "val.csv").write_text("filename,label\ngone.png,n00")
    with pytest.raises(InvalidInput, match=r"names gone\.png, which isn't in"):
        small(listed, split="val")


def test_classes_of_other_sizes_are_dealt_from_their_own(tmp_path):
    write(tmp_path / "all" / "train", range(2), each=8)
    write(tmp_path / "all" / "train", range(2, 4), each=5)
    family = small(tmp_path / "all", ways=4, shots=2, queries=2)

    x = family.sample(Address.fresh(0, 200), 0).support[0] * 255

    numbers = (x[:, :, 1, 0, 0] / 20 + 0.5).long()
    names = (x[:, :, 2, 0, 0] + 0.5).long()
    assert set(numbers[names >= 2].tolist()) <= set(range(5))
    assert set(numbers[names < 2].tolist()) == set(range(8))


def test_an_archive_is_a_folder_too(tmp_path):
    write(tmp_path / "all")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as held:
        for path in sorted((tmp_path / "all").rglob("*.png")):
            held.write(path, path.relative_to(tmp_path))

    one, other = small(tmp_path / "all"), small(tmp_path / "all.zip")

    tasks = [family.sample(Address.fresh(0, 2), 0).support[0] for family in (one, other)]
    assert torch.equal(*tasks)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ways": 17}, "ways is 17, but the split has only 16 classes"),
        ({"shots": 5}, "has 8 images, 4 for each set"),
        ({"split": "dev"}, "it must be one of train, val, test"),
        ({"channels": 2}, "it must be 3 for color or 1 for gray"),
    ],
)
def test_more_than_there_is_is_refused(tmp_path, settings, said):
    with pytest.raises(InvalidInput, match=said):
        small(write(tmp_path / "all"), **settings)


def test_what_cannot_be_read_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidInput, match=r"The folder .* does not exist"):
        small(tmp_path / "gone")
    with pytest.raises(InvalidInput, match="needs a folder"):
        Folder()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no class directories"):
        small(tmp_path / "empty")
    path = write(tmp_path / "all")
    image = path / "class03" / "2.png"
    image.write_bytes(image.read_bytes()[:40])

    def every_split():
        return [small(path, split=split) for split in ("train", "val", "test")]

    with pytest.raises(InvalidInput, match=r"2\.png can't be read as an image"):
        every_split()


def zipped(path, name, link=False):
    with zipfile.ZipFile(path, "w") as held:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16 if link else 0
        held.writestr(info, "../outside")
    return path


def tarred(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as held:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        held.addfile(info, io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("make", "name", "more"),
    [
        (zipped, "../evil", {}),
        (zipped, "/tmp/evil", {}),
        (zipped, "a/../../evil", {}),
        (zipped, "..\\evil", {}),
        (zipped, "C:\\evil", {}),
        (zipped, "link", {"link": True}),
        (tarred, "../evil", {}),
        (tarred, "/tmp/evil", {}),
        (tarred, "link", {"kind": tarfile.SYMTYPE}),
        (tarred, "link", {"kind": tarfile.LNKTYPE}),
        (tarred, "device", {"kind": tarfile.CHRTYPE}),
    ],
)
def test_archives_that_reach_outside_are_not_unpacked(tmp_path, make, name, more):
    home = tmp_path / "home"
    home.mkdir()
    archive = make(home / "a", name, **more)

    with pytest.raises(InvalidInput, match="isn't unpacked"):
        archives.unpack(archive, home / "to")

    assert [path.name for path in tmp_path.rglob("*")] == ["home", "a"]


def test_bombs_and_damaged_archives_are_refused(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", "fine")
    monkeypatch.setattr(archives, "MOST_BYTES_UNPACKED", 5)
    with pytest.raises(InvalidInput, match="would unpack to"):
        archives.unpack(archive, tmp_path / "to")
    (tmp_path / "b.zip").write_bytes(archive.read_bytes()[:30])
    with pytest.raises(InvalidInput, match="can't be unpacked"):
        archives.unpack(tmp_path / "b.zip", tmp_path / "to")


@pytest.fixture
def characters(tmp_path, monkeypatch):
    """A small Omniglot in a cache folder: 2 archives, 12 characters of 20 drawings each."""
    for part, alphabets in (("images_background", "AB"), ("images_evaluation", "C")):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as held:
            for alphabet in alphabets:
                for c in range(4):
                    for i in range(20):
                        pixels = np.full((105, 105), 255, np.uint8)
                        pixels[:50, : 5 * (i + 1)] = 0  # ink above only: turns differ
                        raw = io.BytesIO()
                        Image.fromarray(pixels).convert("1").save(raw, "png")
                        name = f"{part}/{alphabet}/character{c:02d}/{c}_{i:02d}.png"
                        held.writestr(name, raw.getvalue())
        digest = hashlib.md5((tmp_path / f"{part}.zip").read_bytes()).hexdigest()
        monkeypatch.setitem(omniglot.PARTS, part, f"md5:{digest}")
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(omniglot, "TRAIN", 6)
    monkeypatch.setattr(omniglot, "VAL", 3)
    omniglot._pool.cache_clear()
    omniglot._characters.cache_clear()
    yield tmp_path
    omniglot._pool.cache_clear()


def test_omniglot_splits_characters_before_it_turns_them(characters):
    pytest.importorskip("pooch")
    family = Omniglot(ways=20, queries=1, filters=4)

    held = {split: set(omniglot._pool(split).names) for split in ("train", "val", "test")}
    x, y = family.sample(Address.fresh(0, 3), 0).support

    assert [len(names) for names in held.values()] == [6, 3, 3]
    assert len(set.union(*held.values())) == 12
    assert x.shape == (3, 20, 1, 28, 28)
    assert sorted(y[0].tolist()) == list(range(20))
    assert {0.0, 1.0} <= set(x.unique().tolist())  # ink is 1
    edges = x[:, :, 0].sum(-1)  # ink by row: above, below, or to a side
    assert (edges[..., :5].sum(-1) > 2 * edges[..., -5:].sum(-1)).any()
    assert (edges[..., -5:].sum(-1) > 2 * edges[..., :5].sum(-1)).any()
    check_family(Omniglot(ways=2, queries=1, filters=4))
    with pytest.raises(InvalidInput, match="the split has only 6 classes"):
        Omniglot(ways=7, rotations=False)
    with pytest.raises(InvalidInput, match="shots is 11"):
        Omniglot(shots=11)


def test_a_download_that_is_cut_off_or_cannot_be_had_is_said(characters, monkeypatch):
    pytest.importorskip("pooch")
    archive = characters / "images_background.zip"
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match=r"is truncated or changed.*remove it"):
        Omniglot()

    archive.unlink()
    monkeypatch.setattr(omniglot, "HOME", "http://localhost:9")  # nobody listens there
    with pytest.raises(InvalidInput, match=f"could not be downloaded .* to {archive}"):
        Omniglot()


def test_without_the_fetcher_a_sentence_says_what_to_install(characters, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)

    with pytest.raises(InvalidInput, match=r"pip install 'metabench\[data\]'"):
        Omniglot()
