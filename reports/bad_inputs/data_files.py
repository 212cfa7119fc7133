"""Bad data: weights, tables, records, recordings, checkpoints and stores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from metabench.records.record import with_checksum
from metabench.records.store.store import Store
from reports.bad_inputs.case import Case
from reports.bad_inputs.good_files import SMALL

BYTES = {
    "nothing": b"",
    "text": b"some text\n",
    "binary": bytes(range(256)) * 20,
    "zeros": bytes(4096),
    "UTF-16": "a,b\n1,2\n".encode("utf-16"),
    "a pickle that runs": b"cos\nsystem\n(S'touch ran'\ntR.",
    "half of it": b"HALF",
    "another byte in the middle": b"FLIP",
    "zeros in the middle": b"HOLE",
}
FILES = {
    "theta.safetensors": (("verify", *SMALL, "--theta"), ("variance", *SMALL, "--theta")),
    "theta.pt": (("verify", *SMALL, "--theta"), ("train", *SMALL, "--steps", "1", "--theta")),
    "table.csv": (("report",),),
    "table.parquet": (("report",),),
    "study.toml": (("plan",), ("grid",), ("status",), ("show",), ("report",), ("slurm", "--array",
                   "2"), ("compact",), ("worker", "--part", "0/1")),
    "lost.replay.safetensors": (("replay",),),
    "record.json": (("report",),),
}  # fmt: skip
ONES = torch.ones(2)
WEIGHTS: dict[str, Callable[[], Any]] = {
    "sparse": lambda: {"theta": ONES.to_sparse()},
    "quantized": lambda: torch.quantize_per_tensor(ONES, 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([ONES, ONES]),
    "meta": lambda: ONES.to("meta"),
    "whole": lambda: ONES.long(),
    "complex": lambda: ONES * 1j,
    "keyed by integers": lambda: {0: ONES},
    "a number": lambda: 3,
    "a list": lambda: [ONES],
    "too large": lambda: torch.ones(1).expand(10**12),
    "another name": lambda: {"nope": ONES},
    "empty": dict,
}
TABLES = {
    "one column": "a\n1\n",
    "only names": "quantity,value\n",
    "no names": "1,2\n3,4\n",
    "the same name twice": "quantity,quantity,value\na,b,1\n",
    "text as a number": "quantity,value\na,text\n",
    "lines of many lengths": "quantity,value\na,1,2,3\nb\n",
    "an endless number": "quantity,value\na,1e999\n",
    "an open quote": 'quantity,value\n"a,1\n',
    "NUL": "quantity,value\na\0,1\n",
    "a probe that is none": "probe,quantity,value\nnope,a,1\n",
    "code as a probe": "probe,quantity,value\nevil.py:Evil,a,1\n",
    "a formula": "quantity,value\n=1+1,1\n",
    "markup": "quantity,value\n<script>alert(1)</script>,1\n",
    "a setting of a wrong type": "probe,probe.tasks,quantity,value\nvariance,many,noise_scale,1\n",
    "a version of the future": "probe,probe.version,quantity,value\nvariance,99,noise_scale,1\n",
    "an unknown status": "quantity,value,status\na,1,odd\n",
    "a table in a table": "probe,probe.a.b,probe.a,quantity,value\nvariance,1,2,a,1\n",
    "numbers as quantities": "quantity,value\n1,1\n2,2\n",
    "ends that cross": "quantity,value,low,high\na,1,2,0\n",
}
RECORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda r: [r],
    "a number": lambda r: 3,
    "an empty object": lambda r: {},
    "nested without end": lambda r: "[" * 100_000,
    "a key missing": lambda r: {k: v for k, v in r.items() if k != "rows"},
    "rows as text": lambda r: with_checksum({**r, "rows": "text"}),
    "rows of numbers": lambda r: with_checksum({**r, "rows": [1, 2]}),
    "a row without keys": lambda r: with_checksum({**r, "rows": [{}]}),
    "a value as text": lambda r: with_checksum({**r, "rows": [{**r["rows"][0], "value": "x"}]}),
    "a quantity as a number": lambda r: with_checksum({**r, "rows": [{**r["rows"][0],
                                                                     "quantity": 3}]}),
    "an unknown status": lambda r: with_checksum({**r, "rows": [{**r["rows"][0], "status": "?"}]}),
    "an outcome as a number": lambda r: with_checksum({**r, "outcome": 3}),
    "a spec as text": lambda r: with_checksum({**r, "spec": "text"}),
    "a spec without a probe": lambda r: with_checksum({**r, "spec": {}}),
    "a provenance as a list": lambda r: with_checksum({**r, "provenance": [1]}),
    "seconds as text": lambda r: with_checksum({**r, "seconds": "long"}),
    "attempts as a number": lambda r: with_checksum({**r, "attempts": 3}),
    "a digest as a number": lambda r: with_checksum({**r, "digest": 3}),
    "a schema of the future": lambda r: with_checksum({**r, "schema": 99}),
    "a schema as text": lambda r: with_checksum({**r, "schema": "2"}),
    "another digit": lambda r: {**r, "rows": [{**r["rows"][0], "value": 12345.0}]},
    "settings as text": lambda r: with_checksum({**r, "settings": "text"}),
    "a member of nobody": lambda r: with_checksum({**r, "settings": {**r["settings"],
                                                   "algo": {"name": "nope"}}}),
}  # fmt: skip
READERS = (("status",), ("status", "--check"), ("show",), ("plan",), ("compact",), ("report",),
           ("grid", "--executor", "inline", "--quiet"), ("rm", "--failed"))  # fmt: skip
PLACES = ("cell", "store.json", "read_in_full.txt", "environments")
ABOUTS = ("3", "[]", '{"spec": 3}', '{"spec": {}}', "{}", '{"rows": 3}')
HOLDERS: dict[str, tuple[str, ...]] = {
    "theta.state.safetensors": ("train", *SMALL, "--steps", "2", "--save", "theta.safetensors"),
    "lost.replay.safetensors": ("replay", "lost.replay.safetensors"),
    "theta.safetensors": ("verify", *SMALL, "--theta", "theta.safetensors"),
}
THINGS = ("pipe", "folder", "link", "socket")


def cases() -> Iterator[Case]:
    """Yield the cases of weights, tables, records and stores."""
    yield from _files()
    for name, made in WEIGHTS.items():
        words: tuple[str, ...] = ("verify", *SMALL, "--theta", "bad.pt")
        yield Case("data file", f"theta.pt: {name}", words, True, partial(_save, made))
    for name, text in TABLES.items():
        write = partial(_write, "bad.csv", text)
        yield Case("data file", f"table.csv: {name}", ("report", "bad.csv"), False, write)
    yield from _records()
    yield from _things()
    yield from _checkpoints()


def _files() -> Iterator[Case]:
    """Yield every file with other bytes, to each of its readers."""
    for file, commands in FILES.items():
        for name, content in BYTES.items():
            for words in commands:
                spoil = partial(_spoil, file, content)
                yield Case("data file", f"{words[0]} {file}: {name}", (*words, file), False, spoil)


def _records() -> Iterator[Case]:
    """Yield records with other contents, to each of their readers."""
    for name, change in RECORDS.items():
        record, cell = partial(_record, change), partial(_cell, change)
        yield Case("data file", f"record.json: {name}", ("report", "bad.json"), False, record)
        yield Case("store", f"cell: a record that is {name}", ("cell", ""), False, cell)
        for words in READERS:
            case = f"{' '.join(words[:2])}: a record that is {name}"
            yield Case("store", case, (words[0], "study.toml", *words[1:]), False, cell)


def _things() -> Iterator[Case]:
    """Yield stores with something else in the place of a file."""
    for thing in THINGS:
        for words in READERS:
            for place in PLACES:
                case = f"{' '.join(words[:2])}: a {thing} as {place}"
                put = partial(_put, thing, place)
                yield Case("store", case, (words[0], "study.toml", *words[1:]), False, put)


def _checkpoints() -> Iterator[Case]:
    """Yield files of tensors whose metadata are somebody else's."""
    for about in ABOUTS:
        for file, words in HOLDERS.items():
            write = partial(_tensors, file, about)
            yield Case("data file", f"{file}: about {about}", words, False, write)


def _spoil(file: str, content: bytes) -> None:
    path = Path(file)
    if file == "theta.pt":
        torch.save({"theta": ONES}, path)
    elif file == "record.json":
        path.write_bytes(
            next(iter(Path().glob("metabench-runs/verify-*/record.json"))).read_bytes()
        )
    whole = path.read_bytes()
    middle = len(whole) // 2
    made = {
        b"HALF": whole[:middle],
        b"FLIP": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        b"HOLE": whole[: middle - 20] + bytes(40) + whole[middle + 20 :],
    }
    path.write_bytes(made.get(content, content))


def _save(made: Callable[[], Any]) -> None:
    torch.save(made(), "bad.pt")


def _write(file: str, text: str) -> None:
    Path(file).write_text(text)


def _json(made: Any) -> str:
    return made if isinstance(made, str) else json.dumps(made) + "\n"


def _record(change: Callable[[dict[str, Any]], Any]) -> None:
    path = next(iter(Path().glob("metabench-runs/verify-*/record.json")))
    Path("bad.json").write_text(_json(change(json.loads(path.read_bytes()))))


def _first() -> Path:
    store = Store(Path("metabench-runs") / "study")
    return store.path(min(store.on_record()))


def _cell(change: Callable[[dict[str, Any]], Any]) -> None:
    path = _first()
    path.write_text(_json(change(json.loads(path.read_bytes()))))


def _put(thing: str, place: str) -> None:
    store = Path("metabench-runs") / "study"
    path = _first() if place == "cell" else store / place
    if path.is_dir():
        path.rename(path.with_name("before"))
    path.unlink(missing_ok=True)
    if thing == "pipe":
        os.mkfifo(path)
    elif thing == "folder":
        path.mkdir()
    elif thing == "link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"\xff\x00")


def _tensors(file: str, about: str) -> None:
    held = {"theta": ONES, "log": torch.ones(1, 5)}
    save_file(held, file, {"metabench": json.dumps({"about": json.loads(about), "digest": "x"})})
