"""Do quick differences decide only where a table of differences has confirmed them?"""

from __future__ import annotations

import pytest
import torch

from metabench.probes.verify.measure_differences import differences, directions

THETA = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)
ALONG = directions(6, 3, THETA)
EPS = torch.finfo(torch.float64).eps


def judged(loss, claim, unit=EPS):
    """Return what differences say of a claimed gradient, and how often they took the loss."""
    calls = []

    def losses(at):
        calls.append(at)
        return loss(at)[None]

    size = claim.norm()[None] / 6**0.5
    return differences(losses, THETA, claim[None], size, ALONG, unit), len(calls)


def cube(at):
    return (at**3).sum()


def test_a_wrong_claim_costs_one_table_and_not_one_along_each_direction():
    right = 3 * THETA**2

    passed, few = judged(cube, right)
    failed, more = judged(cube, right + torch.tensor([0, 0, 1.0, 0, 0, 0]).double())

    assert (passed.status, failed.status) == ("ok", "wrong")
    assert more - few <= 25 + 3 * 4  # a table of three steps, and more quick steps


@pytest.mark.parametrize("unit", [EPS, torch.finfo(torch.float32).eps])
def test_quick_differences_of_a_loss_on_a_lattice_are_not_trusted(unit):
    """Rounded values have differences of exactly 0, which agree with each other at small steps."""
    step = 1e-3

    found, _ = judged(lambda at: (cube(at) / step).round() * step, 3 * THETA**2, unit)

    assert not found.smooth
    assert found.status in ("unresolved", "kink")
