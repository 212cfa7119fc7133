"""The command `report`: options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metabench.cli import exit_codes, options


@click.command(epilog=exit_codes.OF_REPORTS)
@click.argument("sources", nargs=-1, required=True, metavar="STUDY|TABLE|RUN...", type=options.FILE)
@click.option("-o", "--html", "page", default="page.html", show_default=True, type=options.OUTPUT,
              help="File to write the HTML page to.")  # fmt: skip
@click.option("--table", type=options.OUTPUT, help="Also write all numbers of the page as one "
              "tidy table: .csv or .parquet.")  # fmt: skip
@options.store("Folder of a study's results.  [default: metabench-runs/<study's name>]")
@click.option("--export", type=options.Output(path_type=Path, file_okay=False), help="Also write "
              "every figure (.svg, .csv) and table (.tex) into this folder.")  # fmt: skip
@click.option("--figures", "most", type=click.IntRange(0), default=12, show_default=True,
              help="Maximum number of figures on the page.")  # fmt: skip
@options.trust
@options.fail_on
def report(page: Path, fail_on: str | None, **given: Any) -> None:
    """Make one page of studies, tables and runs, findings first.

    Tables are .csv or .parquet files. The page works offline. Making it needs the tables only, not
    torch.
    """
    from metabench.cli.fail_on import end_if_found
    from metabench.cli.left_out import warn
    from metabench.cli.result_files import require_writable
    from metabench.report.report import report

    require_writable({"--html": page, "--table": given["table"]})
    made = report(page=page, **given)
    click.echo(f"page   {page}")
    warn(made.broken)
    unmeasured = made.unmeasured + len(made.broken)
    end_if_found(made.findings, fail_on, unmeasured)
    if made.broken:
        raise SystemExit(exit_codes.LEFT_OUT)


COMMANDS = (report,)
