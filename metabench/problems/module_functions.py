"""A user's module and loss as functions of phi and theta, for `Problem.from_module`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from metabench.problems.batch_norm_statistics import Statistics, statistics_of
from metabench.problems.initial_phi import identity, partly_learned_init
from metabench.problems.networks import module_checks
from metabench.problems.networks.accuracy import accuracy_of
from metabench.problems.networks.attributes_of_loss import names_read
from metabench.problems.networks.fast_convolutions import with_fast_convolutions
from metabench.problems.networks.functional_module import FunctionalModule, has_tied_tensors
from metabench.problems.networks.last_called import LastCalled
from metabench.problems.networks.layer_statistics import LayerStatistics, layer_statistics
from metabench.problems.networks.module_call import ModuleCall, examine_call
from metabench.problems.networks.own_gradients import with_graph_where_needed
from metabench.problems.networks.plain_tensors import plain_tensors
from metabench.problems.networks.user_loss import UserLoss, user_loss
from metabench.problems.networks.written_data import OwnData
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.tasks import Data, Loss
from metabench.settings.errors import InvalidInput

Features = Callable[[Tensor, Tensor, Data], LayerStatistics]  # phi, theta, data -> by layer


class ModuleFunctions(NamedTuple):
    """A module and a loss as functions of phi and theta; fields are those of `Problem`."""

    net: nn.Module  # the copy that is called
    init: Callable[[Tensor], Tensor]
    inner_loss: Loss
    outer_loss: Loss
    layouts: Layouts
    theta: Tensor
    notes: tuple[str, ...]
    fused: tuple[str, ...]
    fixed: Mapping[str, Tensor]
    aliases: Mapping[str, str]
    norms: tuple[str, ...]
    accuracy: Loss | None
    statistics: Statistics | None
    features: Features
    examine: Callable[[Tensor, Tensor, Data], ModuleCall]
    last_called: LastCalled


def module_functions(
    net: nn.Module,
    loss: Callable[..., Tensor],
    inner_loss: Callable[..., Tensor] | None,
    adapt: Iterable[str] | None,
    learn: Iterable[str] | None,
) -> ModuleFunctions:
    """Return a module and a loss as functions of phi and theta.

    Args:
        net: the module; it is copied.
        loss: `(prediction, y) -> ()` or `(prediction, y, parameters) -> ()`.
        inner_loss: the same, of the inner loop; None: `loss`.
        adapt: patterns of parameter names in phi; None: all with requires_grad.
        learn: patterns of parameter names in theta; None: those in phi.

    Raises:
        InvalidInput: if the loss takes other arguments, dropout is active, or a pattern is unknown.
    """
    losses = user_loss(loss if inner_loss is None else inner_loss), user_loss(loss)
    original = net
    net, notes = module_checks.copy_for_inner_loop(original)
    read = names_read(loss, original) | names_read(inner_loss or loss, original)
    held = {name: value.detach() for name, value in net.named_parameters()}
    if not held:
        raise InvalidInput(
            f"The module ({type(net).__name__}) has no parameters, so there is nothing to adapt."
        )
    phi, theta = _chosen_parameters(net, held, adapt, learn)
    layouts = Layouts(Layout.from_tensors(phi), Layout.from_tensors(theta))
    fixed = {name: value for name, value in held.items() if name not in phi}
    fixed.update(net.named_buffers())
    direct, called = not set(theta) <= set(phi), with_fast_convolutions(net)
    module = FunctionalModule(
        called, layouts, fixed, direct, has_tied_tensors(called), plain_tensors(called)
    )
    last_called, own_data = LastCalled(module.net, layouts.phi.names), OwnData()
    statistics_by_layer, right = layer_statistics(net), accuracy_of(loss)

    def of_task(loss: UserLoss) -> Loss:
        def task_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            def compute(x: Any, y: Any) -> Tensor:
                values = module.values(phi, theta)
                with last_called.recorded():
                    prediction = module.at(values, phi, x)
                return loss(module.chosen(values), phi, prediction, y)

            return own_data.use(data, compute)

        return with_graph_where_needed(task_loss)

    @with_graph_where_needed
    def accuracy(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
        assert right is not None
        x, y = own_data.pair(data)
        return right(module(phi, theta, x), y)

    @with_graph_where_needed
    def features(phi: Tensor, theta: Tensor, data: Data) -> LayerStatistics:
        return statistics_by_layer(module.values(phi, theta), own_data.pair(data)[0])

    examined: dict[Any, ModuleCall] = {}  # it takes ten calls, and probes make many subjects

    def examine(phi: Tensor, theta: Tensor, data: Data) -> ModuleCall:
        key = (phi.dtype, phi.device, *((x.shape, x.dtype) for x in tree_leaves(data)))
        if key not in examined:
            call = examine_call(module, losses, phi, theta, data)
            missed = tuple(name for name in call.written if name.rpartition(".")[2] in read)
            examined[key] = call._replace(written=missed)
        return examined[key]

    return ModuleFunctions(
        net,
        init=identity if layouts.phi == layouts.theta else partly_learned_init(layouts, phi),
        inner_loss=of_task(losses[0]),
        outer_loss=of_task(losses[1]),
        layouts=layouts,
        theta=layouts.theta.flatten(theta),
        notes=(
            *notes,
            *module_checks.subclass_notes(net),
            *module_checks.precision_notes(held),
        ),
        fused=module_checks.fused_norms(net),
        fixed={name: value for name, value in fixed.items() if name not in theta},
        aliases=module_checks.aliases(net),
        norms=module_checks.norm_parameters(net, phi),
        accuracy=accuracy if right else None,
        statistics=statistics_of(module, losses, right, own_data),
        features=features,
        examine=examine,
        last_called=last_called,
    )


def _chosen_parameters(
    net: nn.Module,
    held: Mapping[str, Tensor],
    adapt: Iterable[str] | None,
    learn: Iterable[str] | None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters in phi and those in theta, all of one device and dtype."""
    trained = [name for name, value in net.named_parameters() if value.requires_grad]
    in_phi = trained if adapt is None else module_checks.matching_names(held, adapt, "adapt")
    in_theta = in_phi if learn is None else module_checks.matching_names(held, learn, "learn")
    phi, theta = ({name: held[name] for name in part} for part in (in_phi, in_theta))
    for part in (phi, theta, {**phi, **theta}):
        module_checks.check_one_kind(part)
    return phi, theta
