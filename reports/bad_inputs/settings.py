"""Bad values of every field that --set reaches and of every key of a study."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from metabench.settings import fields, registry
from reports.bad_inputs.case import Case
from reports.bad_inputs.good_files import SMALL, STUDY

ASSIGNMENTS = ("x", "=", "=5", ".=", "algo", "algo.", "algo.steps", ".steps=5", "algo..steps=5",
               "algo.steps=", "nope.x=1", "algo.nope=1", "algo.steps.x=1", "algo.name=maml",
               "algo.inner_optimizer=nope", "algo.inner_optimizer.rate.x=1", "algo.steps=5=6",
               "algo.version=99", "family=quadratic", "probe.tasks=1 2")  # fmt: skip
NO_NUMBER = ("x", "", "nan", "1e", "1,2", "0x1p3", "None", "-", "1 2")
NO_WHOLE = (*NO_NUMBER, "1.5", "inf", "1e3")
ODD = ("-1", "0", "1e400", "-inf", "99999999999999999999")  # right for some fields
DATE, TABLE = "1979-05-27", "{ a = 1 }"
TOML = (DATE, "07:32:00", TABLE, "[]", "[[[1]]]", "true", '"x"', "nan", "-1", "9" * 400,
        '"log(1, 2, 1e9)"', '"range(inf)"', f"[{DATE}]", '"\\u0000"')  # fmt: skip
# a date or a table is the value of no field, nor are endless ranges, NUL and 400 digits
NEVER = (DATE, "07:32:00", TABLE, f"[{DATE}]", "9" * 400, '"log(1, 2, 1e9)"', '"range(inf)"',
         '"\\u0000"')  # fmt: skip
NO_TEXT = (DATE, "07:32:00", f"[{DATE}]", "9" * 400, '"\\u0000"')  # whatever the field holds
KINDS = {"algo": "algorithms", "family": "families", "probe": "probes"}
KEYS = ("seed", "dtype", "device", "theta", "timeout", "split", "zip", "exclude", "algo", "family",
        "probe", "compute")  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield the cases of --set, then those of studies."""
    for command in ("verify", "train", "diagnose"):
        for given in ASSIGNMENTS:
            words = (command, *SMALL, "--set", given)
            yield Case("assignment", f"{command}: --set {given}", words)
    for group, kind, name, field, of in _fields():
        yield from _assigned(group, kind, name, field, of)
        yield from _in_study(group, name, field, of)
    for key in KEYS:
        for value in TOML:
            text = f"{key} = {value}\n{_without(key)}"
            bad = value in NEVER
            yield Case("study", f"{key} = {value[:20]}", ("plan", "study.toml"), bad,
                       partial(_write, text))  # fmt: skip


def _fields() -> Iterator[tuple[str, str, str, str, Any]]:
    """Yield group, kind, member, field and type of every field that a study may set."""
    for group, kind in KINDS.items():
        for name in registry.members(kind):
            if name == "omniglot":  # which needs its files
                continue
            for field, of in fields.types_of(fields.class_of(kind, name)).items():
                if not field.startswith("_") and typing.get_origin(of) is not typing.ClassVar:
                    yield group, kind, name, field, of


def _assigned(group: str, kind: str, name: str, field: str, of: Any) -> Iterator[Case]:
    """Yield bad numbers for a field that is one."""
    texts = {int: NO_WHOLE, float: NO_NUMBER}.get(of, ())
    words = {
        "algo": ("verify", *SMALL, "--algo", name),
        "family": ("verify", "--family", name, "--quiet"),
        "probe": (name, *SMALL),
    }[group]
    for value in texts:
        case = f"{name}: --set {group}.{field}={value}"
        yield Case("setting", case, (*words, "--set", f"{group}.{field}={value}"))


def _in_study(group: str, name: str, field: str, of: Any) -> Iterator[Case]:
    """Yield TOML values of a field."""
    for value in TOML:
        lines = [f"{group}.name = {name!r}", f"{group}.{field} = {value}"]
        text = "\n".join([*lines, _without(group)])
        number = of in (int, float) and value in ('"x"', "nan", "[]", "true", "[[[1]]]")
        never = value in NEVER if of in (int, float) else value in NO_TEXT
        bad = never or (number and value != "[[[1]]]")
        yield Case("study", f"{name}.{field} = {value[:20]}", ("plan", "study.toml"), bad,
                   partial(_write, text))  # fmt: skip


def _without(key: str) -> str:
    """Return the good study without one of its tables or keys."""
    blocks = STUDY.strip().split("\n[")
    head = "\n".join(line for line in blocks[0].splitlines() if not line.startswith(f"{key} "))
    tables = [block for block in blocks[1:] if not block.startswith(f"{key}]")]
    return "\n[".join([head, *tables]) + "\n"


def _write(text: str) -> None:
    Path("study.toml").write_text(text)
