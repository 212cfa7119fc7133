"""Can several thetas be measured by one command, and do its rows say which is which?"""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from shell import metabench

SMALL = ("verify", "--family", "quadratic", "--set", "family.dim=3", "--quiet")


@pytest.fixture(autouse=True)
def files(folder):
    for name in ("a", "b"):
        torch.save({"net": {"phi": torch.full((3,), float(ord(name)))}}, folder / f"{name}.pt")


@pytest.mark.parametrize("given", [("--theta", "*.pt"), ("--theta", "a.pt", "--theta", "b.pt")])
def test_all_are_measured_and_rows_name_their_file(given, folder):
    result = metabench(*SMALL, *given, "--csv", "all.csv")

    rows = pd.read_csv(folder / "all.csv")
    assert result.exit_code == 0
    assert [name.partition("@")[0] for name in rows["theta"].unique()] == ["a.pt", "b.pt"]
    assert result.stdout.index("theta  a.pt") < result.stdout.index("theta  b.pt")
    assert "theta was read from b.pt under ['net']." in result.stdout


REFUSED = {
    "no file": ((*SMALL, "--theta", "x*.pt"), "No file matches --theta 'x*.pt'."),
    "one record": ((*SMALL, "--theta", "*.pt", "--json"), "--json is one record, of one theta"),
    "one page": ((*SMALL, "--theta", "*.pt", "--html", "p.html"), "--html is one page"),
    "a checkup": (("diagnose", "--theta", "*.pt"), "--theta names 2 files, a.pt to b.pt; this"),
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_takes_one_theta_or_none_that_is_there_is_refused(arguments, sentence):
    result = metabench(*arguments)

    assert result.exit_code == 2
    assert sentence in result.stderr
