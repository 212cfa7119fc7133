"""One training from the command line: train, save, say."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from metabench.cli.exit_codes import STOPPED
from metabench.cli.result_files import files_in
from metabench.cli.terminal import print_findings, print_table, progress
from metabench.records import run_folders
from metabench.report.text_tables import tables
from metabench.settings import fields
from metabench.settings.errors import InvalidInput
from metabench.training import resume, tensorboard
from metabench.training.plan import plan_of
from metabench.training.result import Trained
from metabench.training.session import Session


def run(
    *,
    save: Path | None,
    tensorboard_to: Path | None,
    quiet: bool,
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    **choices: Any,
) -> None:
    """Train, print what it says, and save theta, the page, the table and the record."""
    plan = plan_of(**choices)
    if tensorboard_to:
        tensorboard.require()
    folder = run_folders.run_folder("train", fields.digest({**plan.spec, "n": plan.steps}))
    save = save or folder / "theta.safetensors"
    _require_apart(save, html, csv)
    files = files_in(folder, html, csv)
    session = Session(plan, save)
    with progress(_label(session), quiet) as say:
        found = session.train(say)
    if tensorboard_to:
        tensorboard.write(tensorboard_to, session.rows_by_step)
    files.write(found.page(), run_folders.to_csv(found.table), found.record())
    if as_json:
        click.echo(found.record())
    else:
        _print(found)
        click.echo(f"\ntheta  {save}\npage   {files.html}")
        click.echo(f"table  {files.csv}\nnext   {_next(save, session, choices)}")
    if session.failed:
        click.get_current_context().exit(STOPPED)


def _label(session: Session) -> str:
    told, trainer = session.spec, session.trainer
    label = f"train: {told['algo']['name']} on {told['family']['name']}, seed {told['seed']}"
    return f"{label}, going on from step {trainer.step}" if trainer.step else label


def _print(found: Trained) -> None:
    for each in tables(found.short_table(), found.training):
        print_table(each)
        click.echo()
    print_findings(found.findings)


def _require_apart(save: Path, html: Path | None, csv: Path | None) -> None:
    """Refuse files that can't be written, or are one, before any step is taken."""
    if save.suffix != ".safetensors":
        raise InvalidInput(
            f"--save is {save}; theta is saved as safetensors: {save.stem}.safetensors."
        )
    given = [path for path in (save, resume.state_path(save), html, csv) if path]
    for path in given:
        run_folders.check_writable(path)
    if len({path.resolve() for path in given}) < len(given):
        raise InvalidInput(
            "--save, --html and --csv name one file twice; give each one of its own."
        )


def _next(save: Path, session: Session, choices: dict[str, Any]) -> str:
    """Name the command that looks at this theta as it was trained."""
    own = ["--problem", choices["problem"]] if choices["problem"] else []
    if session.failed:
        return " ".join(["metabench replay", str(resume.replay_path(save)), *own])
    where = own or ["--family", choices["family"]]
    kept = [given for given in choices["assignments"] if given.startswith(("algo.", "family."))]
    kept += _annealed(session)
    words = [word for given in kept for word in ("--set", given)]
    command = ["metabench", "variance", "--algo", choices["algo"], *where, *words]
    return shlex.join([*command, "--theta", str(save)])


def _annealed(session: Session) -> list[str]:
    """Give the settings of the algorithm that training itself has changed."""
    trainer = session.trainer
    before, now = (
        fields.settings(of) for of in (trainer.subject.algorithm, trainer.current_subject.algorithm)
    )
    return [f"algo.{name}={value}" for name, value in now.items() if value != before[name]]
