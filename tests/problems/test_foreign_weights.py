"""Is a file of weights that theta can't be read from refused in a sentence?"""

from __future__ import annotations

import collections
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from metabench.problems.checkpoints import Fits, load_theta, trained_on
from metabench.problems.parameter_layout import Layout
from metabench.settings.errors import InvalidInput

LAYOUT = Layout(("weight",), ((2, 3),))
ONES = torch.ones(2, 3)


def quantized():
    return torch.quantize_per_tensor(ONES, 0.1, 0, torch.qint8)


def nested():
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


HELD = {
    "sparse": lambda: {"weight": ONES.to_sparse()},
    "sparse vector": lambda: torch.ones(6).to_sparse(),
    "sparse rows": lambda: {"weight": ONES.to_sparse_csr()},
    "quantized": lambda: {"weight": quantized()},
    "nested": lambda: {"weight": nested()},
    "meta": lambda: {"weight": torch.ones(2, 3, device="meta")},
    "whole numbers": lambda: {"weight": torch.ones(2, 3, dtype=torch.int64)},
    "complex": lambda: {"weight": torch.ones(2, 3, dtype=torch.complex64)},
    "truth values": lambda: torch.ones(6, dtype=torch.bool),
    "integers as keys": lambda: {0: ONES},
    "pairs as keys": lambda: {("weight", 0): ONES},
    "nothing": dict,
    "a number": lambda: 3.0,
    "a list": lambda: [ONES],
    "numbers by name": lambda: {"weight": 3.0},
    "another shape": lambda: {"weight": torch.ones(3, 2)},
    "another name": lambda: {"bias": ONES},
    "another size": lambda: torch.ones(7),
    "a view of 10^15 numbers": lambda: torch.ones(1).expand(10**15),
    "more than weights": lambda: collections.deque([ONES]),
}


@pytest.mark.parametrize("kind", HELD)
@pytest.mark.filterwarnings("ignore")  # torch warns of prototypes
def test_what_is_no_theta_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "theta.pt"
    torch.save(HELD[kind](), path)

    with pytest.raises(InvalidInput, match=r"theta\.pt|do not fit"):
        load_theta(path, Fits(LAYOUT))


@pytest.mark.parametrize("content", [
    b"", b"weights", b"\x80", b"\x80\x02.", b"\x80\x05cos\nsystem\n(S'touch ran'\ntR.",
    b"PK\x03\x04", "lr: 0.1\n".encode("utf-16"), b"\x00" * 4096], ids=repr)  # fmt: skip
@pytest.mark.parametrize("ending", ["pt", "safetensors", "bin", "npz"])
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_file_of_torch_is_refused_and_not_run(tmp_path, monkeypatch, content, ending):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"theta.{ending}"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match="theta"):
        load_theta(path, Fits(LAYOUT))

    assert not Path("ran").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_that_was_cut_off_is_refused(tmp_path, share, ending):
    path = tmp_path / f"theta.{ending}"
    tensors = {"weight": torch.randn(200, 30)}
    torch.save(tensors, path) if ending == "pt" else save_file(tensors, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(InvalidInput, match="theta"):
        load_theta(path, Fits(Layout(("weight",), ((200, 30),))))


@pytest.mark.parametrize("about", [3, [1], "text", {"algo": 3}, {"algo": {}}, {"spec": None}])
def test_metadata_under_our_key_may_be_anybodys(tmp_path, about):
    path = tmp_path / "theta.safetensors"
    save_file({"other": ONES}, path, {"metabench": json.dumps({"about": about, "digest": "x"})})

    for read in (lambda: load_theta(path, Fits(LAYOUT)), lambda: trained_on(path)):
        with pytest.raises(InvalidInput, match=r"theta\.safetensors"):
            read()
