"""One training from the command line: settings, steps, checkpoints, files, words."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from metabench.estimation.estimator_on_tasks import Subject
from metabench.measurement.from_words import build
from metabench.measurement.measurement import Cell
from metabench.outer_loop.mean_gradient import pinned, stretch
from metabench.outer_loop.optimizer_settings import Outer
from metabench.outer_loop.trainer import Trainer
from metabench.probes.base import Probe, Progress
from metabench.probes.verify import Verify
from metabench.problems.family import Family
from metabench.records import record_files
from metabench.records.rows import Row
from metabench.report.terminal import print_findings, progress
from metabench.settings import fields, registry
from metabench.settings.errors import Misuse
from metabench.training import resume, tensorboard
from metabench.training.measure import logged, pause
from metabench.training.report import report
from metabench.training.shown import Training

STOPPED = 3  # exit code: the meta-gradient could not be used any more
SAY = 0.1  # seconds between two words to the progress bar, which costs more than a small step

Named = tuple[str, Probe]


def run(
    *,
    steps: int,
    save: Path | None,
    probe: str,
    every: int | None,
    tensorboard_to: Path | None,
    assignments: Sequence[str],
    quiet: bool,
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    **choices: Any,
) -> None:
    """Train, print what it says, and save theta, the page, the table and the record."""
    names = [name for name in probe.split(",") if name]
    own, rest = _sorted(assignments, ("outer", *names))
    outer: Outer = fields.make(Outer, own["outer"], "outer")
    cell = build("verify", tasks=None, assignments=rest, **choices).settled()
    probes = [(name, _probe(name, own[name], cell.family)) for name in names]
    if tensorboard_to:
        tensorboard.require()
    folder = record_files.run_folder(
        "train", fields.digest({**_settings(cell, outer, steps), "n": steps})
    )
    save = save or folder / "theta.safetensors"
    _check(save, html, csv)
    alike = stretch(cell.algorithm, outer, steps)
    cell = dataclasses.replace(cell, lift=pinned(cell.lift, alike, resume.engine_of(save)))
    settings = _settings(cell, outer, steps)
    every = every or max(steps // 10, 1)

    trainer = Trainer(cell.subject(), outer, steps, cell.seed, _validation(cell))
    rows = resume.go_on(save, trainer, settings)
    label = f"train: {settings['algo']['name']} on {settings['family']['name']}, seed {cell.seed}"
    if trainer.step:
        label += f", going on from step {trainer.step}"
    with progress(label, quiet) as say:
        train(trainer, probes, every, rows, say, lambda: resume.keep(save, trainer, settings, rows))
    rows += [*cell.foreign(), *trainer.examine()]
    if trainer.failure:
        told = {
            "spec": resume.as_now(settings, trainer),
            "kind": trainer.failure.kind,
            "norm": str(trainer.failure.norm),
        }
        trainer.ring.save(resume.autopsy_path(save), trainer.failure.tasks, told)
    if tensorboard_to:
        tensorboard.write(tensorboard_to, [*logged(trainer, every), *rows])
    findings = report(
        Training(steps, every, outer),
        trainer,
        rows,
        {**settings, "steps": steps},
        as_json=as_json,
        html=html or folder / "page.html",
        csv=csv or folder / "table.csv",
        record=folder / "record.json",
    )
    if not as_json:
        print_findings(findings)
        click.echo(f"\ntheta  {save}\npage   {html or folder / 'page.html'}")
        click.echo(
            f"table  {csv or folder / 'table.csv'}\nnext   {_next(save, trainer, choices, rest)}"
        )
    if trainer.failure:
        click.get_current_context().exit(STOPPED)


def train(
    trainer: Trainer,
    probes: Sequence[Named],
    every: int,
    rows: list[Row],
    say: Progress,
    keep: Callable[[], None],
) -> None:
    """Train to the end, or to the first step that fails; pauses add to `rows` and are kept."""
    said = 0.0
    if not rows:
        rows += Verify(thorough=False).measure(trainer.subject, trainer.seed)
    paused = {row.at for row in rows if row.quantity == "validation"}
    try:
        while True:
            step, due = trainer.step, trainer.step % every == 0 or trainer.step == trainer.steps
            if due and step not in paused:
                rows += pause(trainer, probes)
                keep()
            if step == trainer.steps or not trainer.advance():
                break
            if time.monotonic() - said > SAY:
                say(trainer.step, trainer.steps)
                said = time.monotonic()
    except KeyboardInterrupt:
        keep()
        raise
    say(trainer.steps, trainer.steps)


def _sorted(
    assignments: Sequence[str], roots: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Tell settings of these parts from those of a cell."""
    mine = [given for given in assignments if given.partition(".")[0].strip() in roots]
    return fields.parse(mine, roots), [given for given in assignments if given not in mine]


def _probe(name: str, settings: dict[str, Any], family: Family) -> Probe:
    if not registry.load("probes", name).own_tasks:
        settings.setdefault("tasks", family.tasks)
    made: Probe = fields.build("probes", name, settings)
    return made


def _settings(cell: Cell, outer: Outer, steps: int) -> dict[str, Any]:
    """Give what determines theta after each step, as plain JSON values."""
    settings = {key: value for key, value in cell.spec().items() if key != "probe"}
    settings["outer"] = fields.settings(outer)
    if outer.schedule == "cosine":
        settings["outer"]["steps"] = steps
    return settings


def _validation(cell: Cell) -> Subject | None:
    """Look at the family's held-out split, where it has one."""
    family = cell.family
    if not family.held_out or getattr(family, "split", "") == family.held_out:
        return None
    settings = {**fields.settings(family), "split": family.held_out}
    other: Family = fields.make(type(family), settings, "family")
    return dataclasses.replace(cell, family=other, theta="").subject()


def _check(save: Path, html: Path | None, csv: Path | None) -> None:
    if save.suffix != ".safetensors":
        raise Misuse(f"--save is {save}; theta is saved as safetensors: {save.stem}.safetensors.")
    given = [path for path in (save, resume.state_path(save), html, csv) if path]
    for path in given:
        record_files.check_writable(path)
    if len({path.resolve() for path in given}) < len(given):
        raise Misuse("--save, --html and --csv name one file twice; give each one of its own.")


def _next(save: Path, trainer: Trainer, choices: dict[str, Any], assignments: Sequence[str]) -> str:
    """Name the command that looks at this theta as it was trained."""
    own = choices["problem"]
    if trainer.failure:
        return f"metabench autopsy {resume.autopsy_path(save)}" + (
            (own and f" --problem {own}") or ""
        )
    where = ["--problem", own] if own else ["--family", choices["family"]]
    kept = [given for given in assignments if given.startswith(("algo.", "family."))]
    before, now = (fields.settings(of) for of in (trainer.subject.algorithm, trainer.now.algorithm))
    kept += [f"algo.{name}={value}" for name, value in now.items() if value != before[name]]
    words = [word for given in kept for word in ("--set", given)]
    command = ["metabench", "variance", "--algo", choices["algo"], *where, *words]
    return shlex.join([*command, "--theta", str(save)])
