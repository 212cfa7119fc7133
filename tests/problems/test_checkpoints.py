"""Is theta found in modules, state dicts and checkpoints of other tools, or said why not?"""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import metabench as mb


class Tied(nn.Module):
    """An embedding and a head of one weight, as in a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 3, bias=False)
        self.back = nn.Linear(4, 3, bias=False)
        self.back.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)) + self.back(self.body(x))


class Adapted(nn.Module):
    """A layer with the names that peft gives: base_model.model.layer.lora_A.default.weight."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Module()
        layer.base_layer = nn.Linear(3, 3).requires_grad_(False)
        layer.lora_A = nn.ModuleDict({"default": nn.Linear(3, 2, bias=False)})
        layer.lora_B = nn.ModuleDict({"default": nn.Linear(2, 3, bias=False)})
        self.base_model = nn.ModuleDict({"model": nn.ModuleDict({"layer": layer})})

    def forward(self, x: Tensor) -> Tensor:
        layer = self.base_model["model"]["layer"]
        return layer.base_layer(x) + layer.lora_B["default"](layer.lora_A["default"](x))


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))


def problem(net: nn.Module) -> mb.Problem:
    return mb.Problem.from_module(net, mse_loss)


def prefixed(values: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in values.items()}


def flat(net: nn.Module) -> Tensor:
    """Trained parameters in the order of the module."""
    return torch.cat([p.detach().reshape(-1) for p in net.parameters() if p.requires_grad])


OTHER = {"loss_fn.weight": torch.ones(3), "steps": torch.ones(())}
WRAPPED = "by its names without what wrappers add to them"
CHECKPOINTS = {
    "a state dict": (chain, lambda sd: sd, ""),
    "an ordered one": (chain, OrderedDict, ""),
    "DataParallel": (chain, lambda sd: prefixed(sd, "module."), WRAPPED),
    "torch.compile": (chain, lambda sd: prefixed(sd, "_orig_mod."), WRAPPED),
    "both": (chain, lambda sd: prefixed(sd, "module._orig_mod."), WRAPPED),
    "a compiled layer": (chain, lambda sd: {n.replace("2.", "2._orig_mod."): v
                                            for n, v in sd.items()}, WRAPPED),
    "Lightning": (chain, lambda sd: {"epoch": 3, "state_dict": {**prefixed(sd, "model."), **OTHER},
                                     "pytorch-lightning_version": "2.5"},
                  "under ['state_dict'], without the prefix 'model.' of its names; loss_fn.weight, "
                  "steps are not used"),
    "a training script": (chain, lambda sd: {"model_state_dict": sd, "optimizer": {
        "state": {0: {"exp_avg": torch.ones(2)}}}}, "under ['model_state_dict']"),
    "twice nested": (chain, lambda sd: {"a": {"b": sd}}, "under ['a']['b']"),
    "a tied weight": (Tied, lambda sd: sd, ""),
    "a tied weight by its other name": (Tied, lambda sd: {n: v for n, v in sd.items()
                                                          if n != "head.weight"}, ""),
    "a peft adapter": (Adapted, lambda sd: {n.replace(".default", ""): v for n, v in sd.items()
                                            if "lora" in n}, WRAPPED),
}  # fmt: skip


@pytest.mark.parametrize(("make", "wrap", "note"), CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_theta_is_found_where_it_is_unambiguous(make, wrap, note, tmp_path):
    net, trained = make(), make()
    if make is Adapted:
        trained.base_model["model"]["layer"].base_layer.load_state_dict(
            net.base_model["model"]["layer"].base_layer.state_dict()
        )
    torch.save(wrap(trained.state_dict()), tmp_path / "theta.pt")

    found = problem(net).load(tmp_path / "theta.pt")

    assert torch.equal(found.theta, flat(trained))
    assert bool(found.notes) == bool(note)
    assert all(note in said for said in found.notes)


def test_weights_of_a_part_are_found_by_the_parts_names():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = chain()

        def forward(self, x):
            return self.transformer(x)

    trained = chain()

    found = problem(Whole()).load(trained.state_dict())

    assert torch.equal(found.theta, flat(trained))
    assert "as the part 'transformer' of the module" in found.notes[0]


def test_a_compiled_module_takes_the_weights_of_the_plain_one():
    net, trained = torch.compile(chain(), backend="eager"), chain()
    assert torch.equal(problem(net).flatten(trained.state_dict()), flat(trained))


def test_shards_are_read_by_their_index(tmp_path):
    trained = chain().state_dict()
    names = list(trained)
    for i, part in enumerate((names[:1], names[1:])):
        save_file({name: trained[name] for name in part}, tmp_path / f"{i}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    lists = {name: f"{int(i > 0)}.safetensors" for i, name in enumerate(names)}
    index.write_text(json.dumps({"weight_map": lists}))
    net = chain()

    found = problem(net).flatten(index)

    assert torch.equal(found, torch.cat([value.reshape(-1) for value in trained.values()]))
    (tmp_path / "1.safetensors").unlink()
    with pytest.raises(mb.InvalidInput, match=r"index\.json lists 1\.safetensors, which"):
        problem(net).flatten(index)
    with pytest.raises(mb.InvalidInput, match="is a folder; give a file of weights, such as"):
        problem(net).flatten(tmp_path)


def two(sd: dict[str, Tensor]) -> dict[str, object]:
    return {"model": sd, "ema": {name: 2 * value for name, value in sd.items()}}


REFUSED = {
    "two that fit": (chain, two, r"several networks that fit: \['model'\], \['ema'\]. Save "
                     r"the one you mean: torch.save\(torch.load\('theta.pt'\)\['model'\]"),
    "two prefixes": (chain, lambda sd: {**prefixed(sd, "student."), **prefixed(sd, "teacher.")},
                     r"student.\*, teacher.\*. Save the one you mean: torch.save\({n.removeprefix"),
    "another shape": (chain, lambda sd: {**sd, "2.bias": torch.ones(4)},
                      r"2.bias: given \(4,\), expected \(3,\)"),
    "one more layer": (chain, lambda sd: {**sd, "3.bias": torch.ones(4)},
                       r"3.bias: given \(4,\), expected nothing"),
    "tied weights that differ": (Tied, lambda sd: {**sd, "head.weight": 2 * sd["head.weight"]},
                                 "other values for back.weight than for head.weight"),
    "no tensors": (chain, lambda sd: {"epoch": 3}, "holds no tensors by name"),
    "more than weights": (chain, lambda sd: nn.Linear(2, 2), "holds more than weights"),
    "another base of an adapter": (Adapted, lambda sd: sd, "base_layer.weight, which is not part"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "wrap", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_ambiguous_or_does_not_fit_is_refused_in_a_sentence(make, wrap, said, tmp_path):
    torch.save(wrap(make().state_dict()), tmp_path / "theta.pt")

    with pytest.raises(mb.InvalidInput, match=said):
        problem(make()).flatten(tmp_path / "theta.pt")


def draw(address: mb.Address, seed: int) -> mb.Task:
    x = torch.ones(len(address.task), 2, 3)
    return mb.Task((x, x), (x, x))


@pytest.mark.parametrize("form", ["module", "state dict", "vector", "file"])
def test_a_subject_takes_theta_in_any_form(form, tmp_path):
    net, trained, algorithm = chain(), chain(), mb.MetaSGD(steps=1)
    torch.save({"model": trained.state_dict()}, tmp_path / "t.pt")
    forms = {"module": trained, "state dict": trained.state_dict(), "vector": flat(trained),
             "file": tmp_path / "t.pt"}  # fmt: skip

    subject = mb.Subject(problem(net), draw, algorithm, forms[form])

    size = len(flat(trained))
    assert torch.equal(subject.theta[:size], flat(trained))
    assert len(subject.theta) > size  # with the rates that the algorithm learns
    assert ["t.pt under" in note for note in subject.problem.notes] == [True] * (form == "file")
    back = chain()
    back.load_state_dict(subject.problem.unflatten(subject.theta), strict=False)
    assert torch.equal(flat(back), flat(trained))
