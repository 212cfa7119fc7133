"""No command writes over a file that it reads, over a store's files, or twice over one file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from shell import metabench

from metabench.cli import files_read, options, result_files
from metabench.cli.main import main
from metabench.settings.errors import InvalidInput

CSV = "probe.name,algo.name,family.name,seed,quantity,value\nhello,maml,sinusoid,0,bias,1.5\n"
STUDY = """
probe = { name = "mine.py:Hello" }
algo = { name = "maml" }
family = { name = "quadratic" }
theta = ["", "th.safetensors"]
"""
DIGEST = "83c0ffee1234"
FILES = {
    "s.toml": STUDY,
    "t.csv": CSV,
    "c.toml": "seed = 1\n",
    "my.py": "problem = 1\n",
    "mine.py": "Hello = 1\n",
    "th.safetensors": "theta",
    "run/record.json": "{}",
    "metabench-runs/s/store.json": '{"schema": 2}\n',
    "metabench-runs/s/cells/83/83c0ffee1234.json": "{}",
}


@pytest.fixture(autouse=True)
def files(folder):
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    os.link("s.toml", "hard.csv")
    Path("soft.csv").symlink_to("s.toml")


CELL = f"metabench-runs/s/cells/83/{DIGEST}.json"
CASES = [
    "slurm s.toml --array 2 --output s.toml",
    "slurm s.toml --array 2 --output mine.py",
    "slurm s.toml --array 2 --output ./run/../s.toml",
    f"slurm s.toml --array 2 --output {CELL}",
    "verify --problem my.py:problem --csv my.py",
    "verify --problem my.py:problem --html my.py",
    "verify --problem my:problem --html my.py",
    "variance --algo my.py:problem --csv my.py",
    "variance --theta th.safetensors --csv th.safetensors",
    "variance --theta th.saf* --csv th.safetensors",
    "variance --set family.source=t.csv --csv t.csv",
    f"variance --csv {CELL}",
    "probe my.py:Hello --csv my.py",
    "variance --config c.toml --csv c.toml",
    "diagnose --problem my.py:problem --html my.py",
    "train --theta th.safetensors --save th.safetensors",
    "train --theta th.safetensors --html th.safetensors",
    "train --save x.safetensors --csv x.state.safetensors",
    "train --save x.safetensors --csv x.replay.safetensors",
    "report s.toml -o s.toml",
    "report s.toml -o th.safetensors",
    "report t.csv -o t.csv",
    "report t.csv --table t.csv",
    "report s.toml -o o.csv --table o.csv",
    "report run/record.json -o run/record.json",
    "report run -o run/record.json",
    "report . -o run/record.json",
    "report metabench-runs/s -o metabench-runs/s/store.json",
    f"report metabench-runs/s -o {CELL}",
    "show s.toml --csv s.toml",
    "show s.toml --csv hard.csv",
    "show s.toml --csv soft.csv",
    f"show s.toml --csv {CELL}",
    "show s.toml --csv metabench-runs/s/store.json",
]  # fmt: skip


@pytest.mark.parametrize("words", CASES)
def test_what_a_command_reads_is_not_written_over(words, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    monkeypatch.syspath_prepend(".")

    result = metabench(*words.split())

    assert result.exit_code == 2, result.output
    assert "give another one" in result.stderr or "give two different files" in result.stderr
    assert {name: Path(name).read_text() for name in FILES} == FILES
    assert not list(Path("metabench-runs").glob("*/page.html"))


@pytest.mark.parametrize("name", ["loop", "loop/page", "nowhere", "missing/page"])
@pytest.mark.parametrize("option", ["--csv", "--html"])
def test_links_that_lead_nowhere_are_refused_before_measuring(name, option):
    Path("loop").symlink_to("loop")
    Path("nowhere").symlink_to("missing/folder/page.html")

    result = metabench("variance", option, name)

    assert result.exit_code == 2
    assert "give another path" in result.stderr
    assert not list(Path("metabench-runs").glob("variance-*"))


def test_words_that_can_not_be_paths_name_no_file(folder):
    words = [
        "x" * 5000,
        f"{'x' * 5000}.py:Mine",
        "nul\0.py:Mine",
        "**x",
        "a..b:C",
        "key=",
        "[",
        "loop",
    ]
    Path("loop").symlink_to("loop")
    Path("odd.toml").write_text(
        "\n".join(f"k{i} = {json.dumps(word)}" for i, word in enumerate(words))
    )
    context = click.Context(main, info_name="report")
    context.params = {"words": (*words, "odd.toml")}

    assert list(files_read.files_read(context)) == [Path("odd.toml")]


def test_a_dangling_link_into_a_folder_that_is_there_can_be_written(folder):
    Path("later").symlink_to("run/later.html")

    result_files.require_writable({"--html": Path("later")})


def test_every_option_that_names_a_file_to_write_is_known_as_an_output():
    context = click.Context(main)
    found = {
        (param.opts[0], isinstance(param.type, options.Output))
        for name in main.list_commands(context)
        for param in main.get_command(context, name).params
        if isinstance(param, click.Option) and isinstance(param.type, click.Path)
    }

    read = {option for option, is_output in found if not is_output}

    assert read == {"--store", "--sbatch", "--config"}
    assert {option for option, is_output in found if is_output} == {
        *("--html", "--csv", "--output", "--save", "--tensorboard", "-o", "--table", "--export"),
    }


def test_a_table_beside_the_records_of_a_store_is_no_file_of_it():
    context = click.Context(main.get_command(click.Context(main), "show"), info_name="show")
    context.params = {"study": Path("s.toml"), "csv": Path("metabench-runs/s/table.csv")}

    with context:
        result_files.require_writable({"--csv": context.params["csv"]})
        with pytest.raises(InvalidInput, match="reads"):
            result_files.require_writable({"--csv": Path("s.toml")})

    assert Path("mine.py") in set(files_read.files_read(context))
