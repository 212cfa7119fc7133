"""Does the command line say what it measured, and one sentence for whatever it refuses?"""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from shell import measured, metabench, numbers, without_seconds

from metabench.cli.exit_codes import SYSTEM_ERROR
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.problems.tasks import Address
from metabench.records import run_folders
from metabench.records.glossary import GLOSSARY, terms_in
from metabench.records.record import REQUIRED

SMALL = ("variance", "--family", "quadratic", "--tasks", "256")
SINE = ("variance", "--family", "sinusoid", "--tasks", "32")
DIVERGING = (*SINE, "--set", "algo.steps=5", "--set", "algo.inner_optimizer.rate=1e30")

FAMILY = """
from metabench import Quadratic

class Mine(Quadratic):
    pass

ready = Mine(dim=3)
number = 3
"""


def test_the_command_prints_a_table_the_findings_and_where_everything_is():
    found = metabench(*SMALL).stdout

    whole = metabench(*SMALL, "--verbose").stdout

    assert re.search(r"^B +variance +signal-to-noise +seconds", whole, re.M)
    assert re.search(
        r"^16 +0\.\d+ \[0\.\d+, 0\.\d+\] +[\d.]+ \[[\d.]+, [\d.]+\] +[\d.]+", whole, re.M
    )
    assert re.match(r"variance of maml on quadratic: K = 1, alpha = 0.01, B = 25", found)
    assert "Noise equals signal at" in found
    (page,) = re.findall(r"^page +(.+)$", found, re.M)
    (table,) = re.findall(r"^table +(.+)$", found, re.M)
    assert Path(page).read_text().startswith("<!doctype html>")
    assert len(pd.read_csv(table)) > 20
    assert re.search(
        r"^next +metabench variance --algo fomaml --family quadratic --tasks 256$", found, re.M
    )


def test_three_terms_of_the_output_are_named_and_all_explained_if_asked():
    brief, verbose = (metabench(*SMALL, *more).stdout for more in ((), ("--verbose",)))

    explained = re.findall(r"^  ([^:\n>]+): (.+)$", verbose.partition("\nTerms")[2], re.M)
    assert {term for term, _ in explained} == set(terms_in(verbose.partition("\nTerms")[0]))
    assert all(GLOSSARY[term] == sentence for term, sentence in explained)
    (named,) = re.findall(r"^more   --verbose: .*terms such as (.+)$", brief, re.M)
    assert len(named.split(", ")) == 3
    assert set(named.split(", ")) <= set(GLOSSARY)


def test_every_number_is_explained():
    """The columns are quantity, value and meaning; two blanks or more separate them."""
    printed = metabench(*SMALL).stdout.partition("\nquantity  ")[2].partition("\n\n")[0]

    header, *lines = printed.splitlines()
    assert header.split() == ["value", "with", "95", "%", "interval", "meaning", "[unit]"]
    assert len(lines) > 5
    assert [line for line in lines if len(re.split(r"  +", line.strip())) != 3] == []


def test_the_command_that_is_named_next_works():
    (following,) = re.findall(r"^next +metabench (.+)$", metabench(*SMALL).stdout, re.M)

    result = metabench(*following.split(), "--tasks", "64")

    assert result.exit_code == 0
    assert "fomaml on quadratic" in result.stderr


def test_piped_output_is_plain_text():
    result = metabench(*SMALL)

    assert "\x1b" not in result.output


def test_the_json_is_one_strict_object_and_progress_goes_elsewhere():
    result = metabench(*SMALL, "--json")

    found = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(word))
    assert list(found) == [*REQUIRED, "settled"]
    assert result.stderr.startswith("variance: maml on quadratic, seed 0\n")


def test_the_json_holds_every_quantity_at_every_batch_size():
    found = measured(*SMALL)

    places = {}
    for row in found["rows"]:
        places.setdefault(row["quantity"], []).append(row["at"])
    sizes = [1, 2, 4, 8, 16]
    assert all(places[name] == sizes for name in ("variance", "snr", "seconds"))
    single = ("slope", "task_variance", "mean_norm_squared", "noise_scale")
    assert all(places[name] == [None] for name in single)
    keys = ["quantity", "at", "of", "layer", "value", "low", "high", "status"]
    assert all(list(row) == keys for row in found["rows"])
    for finding in found["findings"]:
        assert list(finding) == ["name", "level", "state", "claim", "repair", "evidence"]
        assert all(row in found["rows"] for row in finding["evidence"])


def test_the_spec_says_what_was_asked_for():
    found = measured(
        *SMALL,
        "--seed",
        "7",
        "--dtype",
        "float64",
        "--set",
        "algo.inner_optimizer=adam",
        "--set",
        "algo.inner_optimizer.rate=0.5",
        "--set",
        "probe.sizes=1,3",
    )["spec"]

    step = found["algo"]["inner_optimizer"]
    assert (step["name"], step["rate"], step["beta1"]) == ("adam", 0.5, 0.9)
    assert found["probe"]["sizes"] == [1, 3]
    assert found["probe"]["tasks"] == 256
    assert (found["seed"], found["dtype"], found["device"]) == (7, "float64", "cpu")


def test_the_page_and_the_table_go_where_they_are_told(folder):
    metabench(*SMALL, "--html", folder / "a.html", "--csv", folder / "b.csv")

    assert (folder / "a.html").read_text().startswith("<!doctype html>")
    assert set(pd.read_csv(folder / "b.csv")["algo"]) == {"maml"}
    (run,) = (folder / "metabench-runs").iterdir()
    assert [path.name for path in run.iterdir()] == ["record.json"]


def test_untold_results_go_to_a_folder_named_after_the_settings(folder):
    for extra in ((), ("--set", "probe.batch=26"), ()):
        metabench(*SMALL, *extra)

    runs = sorted((folder / "metabench-runs").iterdir())
    assert len(runs) == 2
    assert all(re.fullmatch(r"variance-maml-quadratic-K1-[0-9a-f]{6}", run.name) for run in runs)
    assert all(
        sorted(path.name for path in run.iterdir()) == ["page.html", "record.json", "table.csv"]
        for run in runs
    )


def test_the_saved_record_is_what_json_prints(folder):
    printed = measured(*SMALL)

    (record,) = (folder / "metabench-runs").glob("*/record.json")
    assert json.loads(record.read_text()) == printed


def test_quiet_leaves_stderr_empty():
    assert metabench(*SMALL).stderr != ""
    assert metabench(*SMALL, "--quiet").stderr == ""


def test_a_seed_gives_the_same_table_again_but_for_seconds():
    first, again, other = (measured(*SMALL, "--seed", seed)["rows"] for seed in (3, 3, 4))

    assert without_seconds(first) == without_seconds(again)
    assert without_seconds(first) != without_seconds(other)


def test_algorithms_are_compared_on_the_same_tasks():
    """With no inner steps MAML and FOMAML are one estimator, so their tables are one table."""
    maml, fomaml = (
        measured(*SMALL, "--algo", name, "--set", "algo.steps=0")["rows"]
        for name in ("maml", "fomaml")
    )

    def is_bias(row):
        return (row["quantity"], row["of"]) == ("bias", "estimator")

    rest = [[row for row in numbers(rows) if not is_bias(row)] for rows in (maml, fomaml)]
    assert rest[0] == rest[1]
    (declared,), (measured_bias,) = (filter(is_bias, rows) for rows in (maml, fomaml))
    assert (declared["status"], measured_bias["value"]) == ("declared", 0.0)


def test_a_family_of_ones_own_is_taken_from_a_file(folder):
    (folder / "mine.py").write_text(FAMILY)

    by_class = measured(
        "variance", "--problem", "mine.py:Mine", "--tasks", "64", "--set", "family.dim=3"
    )
    by_instance = measured("variance", "--problem", "mine.py:ready", "--tasks", "64")

    assert by_class["spec"]["family"]["dim"] == 3
    assert without_seconds(by_class["rows"]) == without_seconds(by_instance["rows"])


@pytest.mark.parametrize("name", ["state.pt", "flat.pt", "state.safetensors"])
def test_a_trained_theta_is_read_from_a_file(folder, name):
    """theta at the mean center 0 has no signal: |E g|^2 is zero but for the estimate's noise."""
    flat = torch.zeros(20)
    if name.endswith(".safetensors"):
        save_file({"phi": flat}, folder / name)
    else:
        torch.save(flat if name == "flat.pt" else {"phi": flat}, folder / name)

    found = measured(*SMALL, "--theta", name)

    (mean,) = (row for row in found["rows"] if row["quantity"] == "mean_norm_squared")
    assert mean["low"] <= 0 <= mean["high"]
    assert mean["status"] == "unresolved"
    assert found["spec"]["theta"].startswith(f"{name}@")


def test_thetas_that_differ_are_cells_that_differ(folder):
    digests = set()
    for value in (0.0, 1.0):
        torch.save(torch.full((20,), value), folder / "theta.pt")
        digests.add(measured(*SMALL, "--theta", "theta.pt")["spec"]["theta"])

    assert len(digests) == 2


def test_a_network_is_read_by_its_parameters_names(folder):
    problem = Sinusoid().problem()
    state = problem.layouts.theta.unflatten(torch.zeros(problem.layouts.theta.size))
    torch.save({name: value.clone() for name, value in state.items()}, folder / "net.pt")

    found = measured(*SINE, "--theta", "net.pt", "--set", "algo.steps=0")

    # a network of zeros answers 0, so only its last bias has a gradient: -2 mean(y)
    address = Address.fresh(0, 32)
    targets = Sinusoid().sample(address, 0).query[1]
    expected = float((-2 * targets.mean((1, 2))).var())
    variance = next(row for row in found["rows"] if row["quantity"] == "task_variance")
    assert variance["value"] == pytest.approx(expected, rel=1e-5)


BAD = {
    "an unknown algorithm": (
        ("--algo", "mamel"),
        "There is no algorithm 'mamel'; did you mean 'maml' or 'imaml' or 'emaml'? Known: "
        "alpha_maml, anil, bmaml, emaml, fomaml, hf_maml, imaml, maml, mamlpp, meta_sgd, pretrain, "
        "reptile.",
    ),
    "an unknown family": (
        ("--family", "quadratik"),
        "There is no family 'quadratik'; did you mean 'quadratic'?",
    ),
    "an unknown field": (
        ("--set", "algo.stepz=3"),
        "There is no field 'stepz' of maml; did you mean 'steps'?",
    ),
    "an unknown field of a nested member": (
        ("--set", "algo.inner_optimizer.rat=1"),
        "There is no field 'rat' of maml.inner_optimizer; did you mean 'rate'?",
    ),
    "an unknown nested member": (
        ("--set", "algo.inner_optimizer=adma"),
        "There is no inner optimizer 'adma'; did you mean 'adam'?",
    ),
    "an unknown part": (
        ("--set", "algorithm.steps=1"),
        "There is no group 'algorithm' to set in 'algorithm.steps=1'; did you mean 'algo.steps'?",
    ),
    "an assignment without a value": (
        ("--set", "algo.steps"),
        "--set takes KEY=VALUE, such as algo.steps=5; given 'algo.steps'.",
    ),
    "a word for a whole number": (
        ("--set", "algo.steps=many"),
        "maml.steps is 'many'; it must be a whole number.",
    ),
    "a fraction for a whole number": (
        ("--set", "algo.steps=1.5"),
        "maml.steps is '1.5'; it must be a whole number.",
    ),
    "a word for a number": (
        ("--set", "algo.inner_optimizer.rate=fast"),
        "maml.inner_optimizer.rate is 'fast'; it must be a number.",
    ),
    "NaN for a number": (
        ("--set", "family.noise=nan"),
        "quadratic.noise is 'nan'; it must be a number.",
    ),
    "a word in a list of numbers": (
        ("--set", "probe.sizes=1,x"),
        "variance.sizes is 'x'; it must be a whole number.",
    ),
    "a word for --tasks": (("--tasks", "many"), "'many' is not a valid integer."),
    "a batch size below 1": (
        ("--set", "probe.sizes=0,4"),
        "B is 0; it must be at least 1 task.",
    ),
    "a training batch below 1": (
        ("--set", "probe.batch=-1"),
        "B is -1; it must be at least 1 task.",
    ),
    "too few tasks": (
        ("--tasks", "3"),
        "tasks is 3; an interval at B = 2 needs 16 disjoint batches: give --tasks 32 or more.",
    ),
    "too few tasks for the sizes asked": (
        ("--set", "probe.sizes=1,64"),
        "tasks is 256; an interval at B = 64 needs 16 disjoint batches: "
        "give --tasks 1024 or more, or smaller probe.sizes.",
    ),
    "too few batches": (
        ("--set", "probe.batches=2"),
        "batches is 2; it must be at least 16 for an interval.",
    ),
    "a negative rate": (
        ("--set", "algo.inner_optimizer.rate=-0.1"),
        "The inner rate is -0.1; it must be finite and not negative.",
    ),
    "negative inner steps": (
        ("--set", "algo.steps=-1"),
        "steps is -1; the inner loop needs 0 or more steps.",
    ),
    "a clip that stops everything": (
        ("--set", "algo.inner_optimizer.clip_norm=0"),
        "clip_norm is 0.0; it must be positive (inf: no clipping).",
    ),
    "an inner batch larger than the support set": (
        ("--set", "algo.batch=100"),
        "batch is 100, but a task has 10 support examples; give at most 10, or 0 for all.",
    ),
    "too few classes": (
        ("--family", "digits", "--set", "family.ways=30"),
        "ways is 30, but the train split has 22 classes; ask for at most 22.",
    ),
    "one class": (
        ("--family", "digits", "--set", "family.ways=1"),
        "ways is 1; it must be at least 2.",
    ),
    "too few images": (
        ("--family", "digits", "--set", "family.shots=1000"),
        "shots is 1000 and queries is 15, but a class has 88 images for each; ask for at most 88.",
    ),
    "an unknown split": (
        ("--family", "digits", "--set", "family.split=dev"),
        "split is 'dev'; it must be one of train, test.",
    ),
    "a device that isn't there": (
        ("--device", "cuda:99"),
        "Device 'cuda:99' not found: torch",
    ),
    "a device that metabench has no use for": (("--device", "mps"), "Device 'mps' not found"),
    "an unknown device": (
        ("--device", "tpuu"),
        "There is no device 'tpuu'; give cpu, cuda or cuda:N.",
    ),
    "an unknown dtype": (
        ("--dtype", "float16"),
        "There is no dtype 'float16'; did you mean 'float64' or 'float32'?",
    ),
    "a negative seed": (("--seed", "-1"), "The seed is -1; it must lie in 0 .. 2^60 - 1."),
    "a seed too large": (("--seed", str(2**60)), "it must lie in 0 .. 2^60 - 1."),
    "a page in a folder that doesn't exist": (
        ("--html", "nowhere/page.html"),
        "The folder nowhere doesn't exist; make it, or give another path.",
    ),
    "a table in a folder that doesn't exist": (
        ("--csv", "nowhere/table.csv"),
        "The folder nowhere doesn't exist; make it, or give another path.",
    ),
    "a page that is a folder": (
        ("--html", "folder"),
        "folder is a folder; give the name of a file.",
    ),
    "a page below a file": (
        ("--html", "file/page.html"),
        "file is a file, not a folder; give another path.",
    ),
    "a page that is a device": (
        ("--html", os.devnull),
        f"{os.devnull} is not an ordinary file; give another path.",
    ),
    "a name that is too long": (
        ("--html", "x" * 300),
        "can't be used (File name too long); give another path.",
    ),
    "no user file": (
        ("--problem", "missing.py:Mine"),
        "There is no file 'missing.py'.",
    ),
    "no name in a user's file": (
        ("--problem", "mine.py"),
        "--problem takes FILE.py:NAME, a Family in that file; given 'mine.py'.",
    ),
    "a name that the file doesn't have": (
        ("--problem", "mine.py:Yours"),
        "'mine.py:Yours' can't be loaded: mine.py has no 'Yours'.",
    ),
    "a family that is a number": (
        ("--problem", "mine.py:number"),
        "mine.py:number is a int; it must be a metabench.Problem with tasks=, or a",
    ),
    "a file that breaks": (
        ("--problem", "broken.py:Mine"),
        "broken.py raised ZeroDivisionError on import: division by zero.",
    ),
    "a module that isn't there": (
        ("--algo", "nothing:Mine"),
        "'nothing:Mine' can't be loaded: No module named 'nothing'.",
    ),
    "an empty module": (("--algo", ":"), "':' names no class; it must be package.module:Class."),
    "a family for an algorithm": (
        ("--algo", "metabench:Quadratic"),
        "'metabench:Quadratic' is no algorithm; "
        "it must be a class derived from metabench.Algorithm.",
    ),
    "an abstract algorithm": (
        ("--algo", "metabench:Algorithm"),
        "metabench:Algorithm can't be made: Can't instantiate abstract class",
    ),
    "no theta": (
        ("--theta", "missing.pt"),
        "There is no file 'missing.pt' to read theta from.",
    ),
    "a theta of another size": (
        ("--theta", "short.pt"),
        "short.pt holds 3 numbers; this problem's theta has 20.",
    ),
    "a theta by other names": (
        ("--theta", "named.pt"),
        "These parameters do not fit: phi: given nothing, expected (20,); weight: given (20,),",
    ),
    "a checkpoint with more than weights": (
        ("--theta", "checkpoint.pt"),
        "checkpoint.pt holds no tensors by name; save net.state_dict() or a flat vector.",
    ),
    "a theta that is no torch file": (
        ("--theta", "file"),
        "file holds more than weights, or isn't a torch file",
    ),
    "a theta that is no safetensors file": (
        ("--theta", "not.safetensors"),
        "not.safetensors is not a safetensors file",
    ),
    "an unknown batching": (
        ("--set", "compute.batching=pmap"),
        "compute.batching is 'pmap'; it must be one of auto, vmap, loop.",
    ),
    "an empty chunk": (
        ("--set", "compute.chunk=0"),
        "compute.chunk is 0; it must be at least 1 task.",
    ),
    "an unknown option": (("--taks", "3"), "No such option"),
}


@pytest.mark.parametrize(("arguments", "sentence"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_in_a_sentence(folder, arguments, sentence):
    (folder / "folder").mkdir()
    (folder / "file").write_text("words")
    (folder / "not.safetensors").write_text("words")
    (folder / "mine.py").write_text(FAMILY)
    (folder / "broken.py").write_text("1 / 0")
    torch.save(torch.zeros(3), folder / "short.pt")
    torch.save({"weight": torch.zeros(20)}, folder / "named.pt")
    torch.save({"net": {"name": "phi"}, "epoch": 3}, folder / "checkpoint.pt")

    result = metabench(*SMALL, *arguments)

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert result.stdout == ""


def test_every_bad_input_has_a_sentence_of_its_own():
    sentences = [sentence for _, sentence in BAD.values()]

    repeated = {sentence for sentence in sentences if sentences.count(sentence) > 1}
    assert repeated == {"The folder nowhere doesn't exist; make it, or give another path."}


def test_results_that_have_nowhere_to_go_are_refused_before_the_measurement(folder):
    (folder / "metabench-runs").write_text("in the way")

    result = metabench(*SMALL)

    assert result.exit_code == 2
    assert "run the command in a folder you may write to" in result.stderr


def test_listing_an_unknown_member_names_the_nearest():
    result = metabench("list", "mamll")

    assert result.exit_code == 2
    assert "There is no member or settings group 'mamll'; did you mean 'maml'" in result.stderr


def test_divergence_is_counted_said_and_rendered(folder):
    found = measured(*DIVERGING, "--html", folder / "page.html")

    variances = [row for row in found["rows"] if row["quantity"] == "variance"]
    assert {(row["value"], row["status"]) for row in variances} == {(None, "diverged")}
    finding = found["findings"][0]
    assert (finding["name"], finding["level"]) == ("diverged", "critical")
    assert finding["claim"].startswith("100 % of tasks give a non-finite meta-gradient")
    page = (folder / "page.html").read_text()
    assert finding["claim"] in page
    assert "no finite variance to draw" in page


def test_a_share_that_diverges_is_told_from_all():
    """Tasks of large amplitude overflow first: at this rate some do and some don't."""
    found = measured(
        *SINE, "--tasks", "64", "--set", "algo.steps=5", "--set", "algo.inner_optimizer.rate=3"
    )

    alone = next(row for row in found["rows"] if row["quantity"] == "diverged")
    assert 0 < alone["value"] < 1
    assert alone["low"] < alone["value"] < alone["high"]
    assert f"{100 * alone['value']:.3g} % of tasks" in found["findings"][0]["claim"]


def test_a_full_disk_exits_with_4_and_keeps_the_sentence_short(monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folders, "write", full)
    result = metabench(*SMALL)

    assert result.exit_code == SYSTEM_ERROR == 4
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_killed_halfway_leaves_the_old_file(folder, monkeypatch, step):
    path = folder / "page.html"
    path.write_text("old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, killed)
    with pytest.raises(KeyboardInterrupt):
        run_folders.write(path, "new")

    assert path.read_text() == "old"
    assert list(folder.iterdir()) == [path]


def test_a_link_is_written_through(folder):
    (folder / "real.html").write_text("old")
    (folder / "link.html").symlink_to("real.html")

    run_folders.write(folder / "link.html", "new")

    assert (folder / "real.html").read_text() == "new"
    assert (folder / "link.html").is_symlink()


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "metabench", "list"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()

    assert said == b""


def test_the_family_prescribes_how_many_tasks_unless_told():
    spec = measured("variance", "--family", "quadratic", "--set", "probe.tasks=64")["spec"]
    default = measured("variance", "--family", "quadratic")["spec"]

    assert spec["probe"]["tasks"] == 64
    assert default["probe"]["tasks"] == Quadratic.tasks


def test_page_and_table_can_not_share_a_file(folder):
    result = metabench(*SMALL, "--html", "one.html", "--csv", "one.html")

    assert result.exit_code == 2
    assert "both name one.html" in result.stderr


def test_running_out_of_memory_is_the_environments_fault(folder, monkeypatch):
    def exhausted(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 EB")

    monkeypatch.setattr("metabench.measurement.measurement.Measurement.measure", exhausted)

    result = metabench(*SMALL)

    assert result.exit_code == 4
    assert "allocate" in result.stderr


def test_memory_is_a_field_of_the_probe_and_budget_the_time_of_the_command(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "metabench.cli.probe.run.run", lambda probe, **options: seen.update(options)
    )

    metabench("variance", "--budget", "20s", "--memory", "4GiB", "--set", "algo.steps=2")

    assert seen["assignments"] == ("probe.memory=4GiB", "algo.steps=2")
    assert seen["budget"] == "20s"
