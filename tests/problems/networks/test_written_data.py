"""Does every inner step see the data as they were drawn, whatever a module or loss writes to?"""

from __future__ import annotations

import pytest
import torch
from nets import TASKS, Net, error, mlp, subject
from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb


def shifted(self, x):
    return self.layer(x.add_(1.0))


def cut(self, x):
    x[x < 0] = 0
    return self.layer(x)


def doubled(prediction, y):
    return mse_loss(prediction, y.mul_(2))


def layer():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def net_of(forward):
    return Net(forward, layer=layer())


ADDING = net_of(shifted), net_of(lambda self, x: self.layer(x + 1))
CUTTING = net_of(cut), net_of(lambda self, x: self.layer(x.relu()))
RELU = nn.Sequential(nn.ReLU(inplace=True), layer()), nn.Sequential(nn.ReLU(), layer())
CASES = {  # what writes, the same function without writing, and the part that is written to
    "an addition": (ADDING, (mse_loss, mse_loss), "x"),
    "a mask": (CUTTING, (mse_loss, mse_loss), "x"),
    "a first ReLU": (RELU, (mse_loss, mse_loss), "x"),
    "a loss": ((layer(), layer()), (doubled, lambda p, y: mse_loss(p, 2 * y)), "y"),
}


@pytest.mark.parametrize("how", ["auto", "loop"])
@pytest.mark.parametrize(("nets", "losses", "part"), CASES.values(), ids=CASES)
def test_data_are_copied_for_what_writes_to_them_and_it_is_said(nets, losses, part, how):
    before = [x.clone() for x in (*TASKS.support, *TASKS.query)]
    of = subject(nets[0], losses[0], how)

    found = error(nets[1], of, losses[1])

    assert found < 1e-12
    assert all(map(torch.equal, (*TASKS.support, *TASKS.query), before))
    rows = mb.measure_checked(mb.Verify(tasks=2, thorough=False), of)
    notes = [row.of for row in rows if row.quantity == "changed"]
    assert any(f"changes {part} in place, so each call gets copies" in note for note in notes)


def test_a_black_box_that_writes_to_its_task_gets_the_same_one_again():
    def writing(theta, task):
        value = task.query[0].sum()
        task.query[0].add_(1.0)
        return None, {name: value.expand(x.shape) for name, x in theta.items()}

    problem = mb.Problem.from_module(mlp(), mse_loss)
    of = mb.Subject(problem, lambda address, seed: TASKS, mb.BlackBox(writing), problem.theta)

    first, again = (of.meta_gradients(mb.Address.fresh(0, 2), 0).grad for _ in range(2))

    assert torch.equal(first, again)
