"""Which key is meant by another library's, a paper's or an older version's name for a setting?"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from metabench.settings import member_source, registry
from metabench.settings.errors import InvalidInput, unknown

INNER_RATE, OUTER_RATE = "algo.inner_optimizer.rate", "outer.rate"
BATCH = ("outer.batch", "probe.batch")
CLIP = ("outer.clip_norm", "probe.clip_norm", "algo.inner_optimizer.clip_norm")
PROXIMAL = ("algo.proximal_strength", "probe.proximal_strength")

# key -> other names of it; a name of several keys means the one in the group that it stands in
NAMES: dict[tuple[str, ...], str] = {
    (INNER_RATE,): "alpha inner_lr inner_rate inner_learning_rate update_lr task_lr fast_lr",
    (INNER_RATE, OUTER_RATE): "rate lr learning_rate step_size",
    (OUTER_RATE, "probe.outer_rate"): "beta meta_lr outer_lr outer_rate meta_learning_rate",
    ("algo.steps",): (
        "steps inner_steps num_steps n_steps num_inner_steps adaptation_steps adapt_steps "
        "num_updates update_steps inner_iterations n_inner inner_loop_steps"
    ),
    ("algo.steps", "algo.inner_optimizer"): "step",
    ("algo.steps", "family.shots"): "k",
    ("algo.inner_optimizer", "outer.optimizer"): "inner_optimizer optimizer optim opt",
    ("outer.optimizer", "probe.outer_optimizer"): "outer_optimizer meta_optimizer",
    ("algo.rematerialize",): "rematerialize remat trail checkpoint checkpointing",
    PROXIMAL: "proximal_strength strength lambda lam lamb lambd proximal prox pull",
    ("algo.leader_steps",): "leader_steps lead",
    ("algo.particles",): "particles n_particles num_particles",
    ("algo.batch",): "inner_batch inner_batch_size",
    BATCH: "batch b meta_batch meta_batch_size meta_batchsize task_batch_size tasks_per_batch",
    (*BATCH, "algo.batch"): "batch_size",
    CLIP: "clip_norm clip grad_clip max_norm max_grad_norm clip_grad_norm",
    ("outer.weight_decay",): "weight_decay wd",
    ("outer.schedule",): "schedule scheduler lr_schedule",
    ("family.ways",): "ways way n n_way n_ways num_ways num_classes classes",
    ("family.shots",): "shots shot k_shot n_shot num_shots n_shots k_support n_support",
    ("family.queries",): "queries query n_query num_queries n_queries k_query num_query",
    ("compute.batching",): "batching how vmap vectorize",
    ("compute.chunk",): "chunk chunk_size vmap_chunk",
    ("compute.engine",): "engine compile backend",
    ("probe.shot_multiples",): "shot_multiples ladder",
    ("probe.compare_with",): "compare_with against",
    ("probe.redrawn_tasks",): "redrawn_tasks redrawn",
    ("probe.tasks",): "tasks n_tasks num_tasks",
    **{(f"--{name}",): name for name in ("seed", "device", "dtype", "theta", "probe", "problem")},
    ("--algo",): "algo",
    ("--family",): "family",
}
GROUPS = {
    **dict.fromkeys(("algorithm", "inner", "learner"), "algo"),
    **dict.fromkeys(("meta", "outer_optimizer", "optimizer", "train"), "outer"),
    **dict.fromkeys(("dataset", "data", "problem"), "family"),
    **dict.fromkeys(("lift", "vectorization", "batching"), "compute"),
}
# A group that is not there for every command, and which commands have it.
GROUPS_ELSEWHERE = {
    "outer": "metabench train and metabench diagnose have it",
    "trial": "metabench diagnose has it",
    "probe": "here each probe is a group, as in variance.tasks=64",
}
KIND_GROUPS = {"algorithms": "algo", "families": "family", "probes": "probe"}


def keys_of(name: str) -> tuple[str, ...]:
    """Return every key that a name may mean; none where it is no known name.

    >>> keys_of("lr"), keys_of("K")
    (('algo.inner_optimizer.rate', 'outer.rate'), ('algo.steps', 'family.shots'))
    """
    return tuple(key for keys, names in NAMES.items() if name.lower() in names.split()
                 for key in keys)  # fmt: skip


def key_of_field(group: str, name: str, fields: Collection[str]) -> list[str]:
    """Return the keys that a wrong field name of a group may mean, those of the group if any.

    Args:
        group: the key before the name: `algo`, `algo.inner_optimizer`, `outer`, or a probe's name.
        name: the name that is no field.
        fields: the fields that there are.

    >>> key_of_field("algo", "lr", ["steps", "inner_optimizer"])
    ['algo.inner_optimizer.rate']
    >>> key_of_field("variance", "meta_batch_size", ["batch", "tasks"])
    ['variance.batch']
    >>> key_of_field("algo", "lam", ["steps", "inner_optimizer"])
    ['algo.proximal_strength of imaml']
    """
    prefix = "probe." if group in registry.members("probes") else f"{group}."
    found = keys_of(name)
    inside = [key.removeprefix(prefix) for key in found if key.startswith(prefix)]
    valid = [f"{group}.{rest}" for rest in inside if rest.partition(".")[0] in fields]
    if valid or inside:
        return valid or [f"{group}.{rest}{_members_with(group, rest)}" for rest in inside]
    return [key for key in found if not key.startswith(f"{group.partition('.')[0]}.")]


def key_in_groups(path: str, groups: Collection[str]) -> list[str]:
    """Return the keys that a path outside of all groups may mean, among those of the groups.

    Args:
        path: as given: `steps`, `lift.how`, `maml.steps`.
        groups: the groups of settings that there are here.

    >>> key_in_groups("lift.how", ["algo", "compute"]), key_in_groups("steps", ["algo"])
    (['compute.batching'], ['algo.steps'])
    """
    root, _, rest = path.partition(".")
    found = keys_of(rest.rpartition(".")[2] or root)
    if rest:
        group = _group_of(root, groups)
        allowed = (f"{group}.", *(("probe.",) if group == "outer" else ()))
        whole = f"{group}.{rest}"
        found = tuple(key for key in found if key.startswith(allowed)) or (whole,)
    elif root in GROUPS and not found:
        found = (GROUPS[root],)
    return [key for key in found if key.startswith("--") or key.partition(".")[0] in groups]


def keys_among(path: str, known: Collection[str]) -> list[str] | None:
    """Return the known keys that a path may mean; None where it is no other name of one.

    >>> keys_among("algo.K", ["algo.steps", "seed"])
    ['algo.steps']
    """
    groups = {key.partition(".")[0] for key in known}
    return [key for key in key_in_groups(path, groups) if key in known] or None


def unknown_group(kind: str, path: str, groups: Collection[str], where: str) -> InvalidInput:
    """Return the error for a key whose group isn't one; it names the key that is meant.

    Args:
        kind: what messages call a group.
        path: the key as given: `lift.how`.
        groups: the groups that there are.
        where: what follows the group's name in the message.

    >>> print(unknown_group("key", "lift", ["algo", "compute"], " of a study"))
    There is no key 'lift' of a study; did you mean 'compute'? Known: algo, compute.
    """
    root = path.partition(".")[0]
    elsewhere = _elsewhere(root)
    meant = key_in_groups(path, groups) or ([] if elsewhere else None)
    return unknown(kind, root, groups, f"{where}{elsewhere}", meant)


def _elsewhere(root: str) -> str:
    """Say which commands have a group that isn't one here; "" for an unknown group."""
    if root in registry.members("probes"):
        return f"; metabench diagnose has it, and metabench train with --probe {root}"
    return f"; {GROUPS_ELSEWHERE[root]}" if root in GROUPS_ELSEWHERE else ""


def _group_of(root: str, groups: Collection[str]) -> str:
    """Return the group that a wrong name means; a member's name means the group of its kind."""
    if root in GROUPS or root in GROUPS_ELSEWHERE:
        return GROUPS.get(root, root)
    kinds = [kind for kind in KIND_GROUPS if root in registry.members(kind)]
    near = difflib.get_close_matches(root, groups, n=1)
    return KIND_GROUPS[kinds[0]] if kinds else near[0] if near else ""


def _members_with(group: str, field: str) -> str:
    """Name the members that have a field, as " of imaml"; "" where there are none."""
    kind = next((kind for kind, key in KIND_GROUPS.items() if key == group), "")
    names = [
        name
        for name, target in (registry.members(kind) if kind else {}).items()
        if field in {line.name for line in member_source.field_lines(target)}
    ]
    return f" of {', '.join(names)}" if names else ""
