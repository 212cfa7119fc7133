"""Run a training from the command line: train, save, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metabench.cli.exit_codes import STOPPED
from metabench.cli.fail_on import end_if_found
from metabench.cli.probe.next_command import settings_of
from metabench.cli.result_files import files_in, require_writable
from metabench.cli.suggested_command import suggest
from metabench.cli.terminal import print_findings, print_table, progress
from metabench.estimation.adapted_and_learned import adapted_and_learned
from metabench.records import csv_text, run_folders
from metabench.report.text_tables import tables
from metabench.settings import fields
from metabench.settings.errors import InvalidInput
from metabench.settings.printed_names import algorithm_on_family
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
    fail_on: str | None = None,
    **choices: Any,
) -> None:
    """Train, print the tables and findings, and save theta, the page, the table and the record.

    Args:
        save: file of theta; None is one in the run's folder.
        tensorboard_to: folder for TensorBoard, if given.
        quiet: show no progress.
        as_json: print the record instead of the text.
        html: path of the page, if given.
        csv: path of the table, if given.
        fail_on: severity of findings that makes the exit code 1.
        choices: the rest as `training.plan.plan_of` takes it.
    """
    require_writable({"--save": save, "--html": html, "--csv": csv})
    plan = plan_of(**choices)
    if tensorboard_to:
        tensorboard.require()
        run_folders.make_folder(tensorboard_to)
    folder = run_folders.run_folder("train", plan.spec, {"n": plan.steps})
    save = save or folder / "theta.safetensors"
    _require_apart(save, html, csv)
    files = files_in(folder, html, csv)
    session = Session(plan, save)
    about = adapted_and_learned(session.trainer.subject)
    with progress(_label(session), quiet, about) as say:
        found = session.train(say, _waiting)
    if tensorboard_to:
        tensorboard.write(tensorboard_to, session.rows_by_step)
    files.write(found.page(), csv_text.to_csv(found.table), found.record())
    if as_json:
        click.echo(found.record())
    else:
        _print(found)
        click.echo(f"\ntheta  {save}\npage   {files.html}")
        click.echo(f"table  {files.csv}\nnext   {_next(save, session, choices)}")
    if session.failed:
        click.get_current_context().exit(STOPPED)
    end_if_found(found.findings, fail_on)


def _waiting() -> None:
    """Tell the user, who may wait for a long step, how to stop at once."""
    click.echo("Stopping after this step; interrupt again to stop at once.", err=True)


def _label(session: Session) -> str:
    spec, trainer = session.spec, session.trainer
    label = f"train: {algorithm_on_family(spec)}, seed {spec['seed']}"
    return f"{label}, resuming at step {trainer.step}" if trainer.step else label


def _print(found: Trained) -> None:
    for each in tables(found.short_table(), found.training):
        print_table(each)
        click.echo()
    print_findings(found.findings)


def _require_apart(save: Path, html: Path | None, csv: Path | None) -> None:
    """Check that all files can be written and differ, before training starts."""
    if save.suffix != ".safetensors":
        raise InvalidInput(
            f"--save is {save}; theta is saved as safetensors: {save.stem}.safetensors."
        )
    beside = {
        "--save's state": resume.state_path(save),
        "--save's recording": resume.replay_path(save),
    }
    require_writable({"--save": save, **beside, "--html": html, "--csv": csv})


def _next(save: Path, session: Session, choices: dict[str, Any]) -> str:
    """Return the command to run next: replay a divergence, else measure variance at theta."""
    if session.failed:
        return suggest("replay", {"file": resume.replay_path(save), "assignments": ()}, ["algo"])
    kept = (*settings_of(choices, ""), *_annealed(session))
    return suggest("variance", {"algo": choices["algo"], "theta": save, "assignments": kept})


def _annealed(session: Session) -> list[str]:
    """Return the algorithm's settings that training has changed, as assignments."""
    trainer = session.trainer
    before, now = (
        fields.settings(of) for of in (trainer.subject.algorithm, trainer.current_subject.algorithm)
    )
    return [f"algo.{name}={value}" for name, value in now.items() if value != before[name]]
