"""Does a study file give the cells it names, and does a wrong one name its line?"""

from __future__ import annotations

import itertools

import pytest
import torch

from metabench.grid.study import study, value_ranges
from metabench.grid.study.toml_lines import line_of
from metabench.measurement.from_words import build
from metabench.measurement.measurement import DTYPES, Measurement
from metabench.settings import fields
from metabench.settings.errors import InvalidInput

STUDY = """\
# two algorithms on bowls
seed = "range(2)"
zip = [["family.shots", "family.queries"]]

[probe]
name = "variance"
tasks = 64
sizes = [1, 2]

[[algo]]
name = "maml"
steps = [1, 2]
inner_optimizer.rate = "log(1e-2, 1, 3)"

[[algo]]
name = "fomaml"
[algo.inner_optimizer]
name = "adam"
rate = [0.1, 0.2]

[family]
name = "quadratic"
shots = [5, 10]
queries = [4, 8]

[[exclude]]
algo = "fomaml"
seed = 1
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return study.read(path)

    return read


def plain(extra="", algo='name = "maml"', top=""):
    """A study of one cell, but for what is added."""
    return (
        f'{top}\n[algo]\n{algo}\n[family]\nname = "quadratic"\n[probe]\nname = "variance"\n{extra}'
    )


def settings(found, *path):
    """The values that the cells have at one place of their specs, without repeats."""
    values = []
    for cell in found.cells.values():
        value = cell.spec
        for key in path:
            value = value[key]
        values.append(value)
    return list(dict.fromkeys(values))


def test_axes_are_crossed_zipped_and_excluded(read):
    found = read(STUDY)

    # maml: 2 seeds x 2 zipped pairs x 2 steps x 3 rates; fomaml: 1 seed x 2 pairs x 2 rates
    names = [cell.spec["algo"]["name"] for cell in found.cells.values()]
    assert (names.count("maml"), names.count("fomaml")) == (24, 4)
    families = [cell.spec["family"] for cell in found.cells.values()]
    assert {(f["shots"], f["queries"]) for f in families} == {(5, 4), (10, 8)}
    assert {cell.spec["seed"] for cell in found.cells.values()} == {0, 1}
    assert {tuple(cell.spec["probe"]["sizes"]) for cell in found.cells.values()} == {(1, 2)}


def test_a_cell_of_a_study_has_the_address_of_the_same_command(read):
    found = read(
        plain("tasks = 64", algo='name = "maml"\ninner_optimizer.rate = 0.1', top="seed = 3")
    )

    by_command = build(
        "variance",
        algo="maml",
        family="quadratic",
        problem=None,
        theta="",
        tasks=64,
        seed=3,
        device="cpu",
        dtype="float32",
        assignments=["algo.inner_optimizer.rate=0.1"],
    )
    assert list(found.cells) == [fields.digest(by_command.spec())]


def test_the_family_prescribes_how_many_tasks_by_default(read):
    assert settings(read(plain()), "probe", "tasks") == [4096]


@pytest.mark.parametrize(
    ("algo", "steps"),
    [
        ('name = "maml"\ninner_optimizer = ["sgd", "adam"]', ["sgd", "adam"]),
        ('name = "maml"\ninner_optimizer.name = ["sgd", "adam"]', ["sgd", "adam"]),
        (
            'name = "maml"\ninner_optimizer = [{name = "sgd", rate = [1, 2]}, "adam"]',
            ["sgd", "sgd", "adam"],
        ),
        (
            'name = "maml"\n[[algo.inner_optimizer]]\nname = "adam"\nrate = "linear(0.1, 0.3, 3)"',
            ["adam"] * 3,
        ),
        ('name = ["maml", "fomaml"]', ["sgd", "sgd"]),
    ],
)
def test_members_are_axes_too(read, algo, steps):
    cells = read(plain(algo=algo)).cells.values()

    assert [cell.spec["algo"]["inner_optimizer"]["name"] for cell in cells] == steps


def test_a_list_is_one_value_of_a_field_that_holds_a_list(read):
    one = read(plain("sizes = [1, 2]")).cells
    two = read(plain("sizes = [[1, 2], [1, 4]]")).cells

    assert (len(one), len(two)) == (1, 2)


def test_digests_are_those_of_cells_made_one_by_one(read, tmp_path):
    """Zipped seeds, two of everything, and a number of tasks that follows the family's shots."""
    torch.save(torch.zeros(20), tmp_path / "theta.pt")
    top = 'seed = [3, 1]\ndtype = ["float32", "float64"]\ntheta = ["", "theta.pt"]\n'
    top += 'zip = [["seed", "family.shots"]]\n'
    text = plain(
        "sizes = [[1, 2], [1, 4]]", algo="steps = [1, 2]\nname = ['maml', 'imaml']", top=top
    )

    found = read(text.replace('"quadratic"', '"quadratic"\nshots = [5, 6]'))

    each = itertools.product(
        ((3, 5), (1, 6)), DTYPES, ("", f"{tmp_path}/theta.pt"), (1, 2), ("maml", "imaml"), (2, 4)
    )
    alone = {
        fields.digest(
            Measurement.from_settings({
                "probe": {"name": "variance", "sizes": [1, size]},
                "algo": {"name": algo, "steps": steps},
                "family": {"name": "quadratic", "shots": shots},
                "seed": seed, "dtype": dtype, "device": "cpu", "theta": theta,
            }).spec()
        )
        for (seed, shots), dtype, theta, steps, algo, size in each
    }  # fmt: skip
    assert set(found.cells) == alone
    assert len(alone) == 64
    assert [cell.digest for cell in found.cells.values()] == list(found.cells)


def test_a_study_of_many_cells_makes_one_for_each_distinct_value(read, monkeypatch):
    """A count, since 10^5 cells were 5 s of processor time when each was made."""
    made = []
    once = Measurement.from_settings
    monkeypatch.setattr(Measurement, "from_settings", lambda s: made.append(s) or once(s))

    rates = 'name = "maml"\ninner_optimizer.rate = "linear(0.1, 1, 10)"\nsteps = [1, 2]'
    found = read(plain(algo=rates, top='seed = "range(500)"'))

    assert len(found.cells) == 10_000
    assert len(made) == 20  # algorithms: ten rates at two numbers of steps


def test_a_range_has_the_addresses_of_its_numbers_typed_out(read):
    by_range = read(plain(algo='name = "maml"\ninner_optimizer.rate = "log(1e-3, 1, 4)"'))
    typed = read(plain(algo='name = "maml"\ninner_optimizer.rate = [0.001, 0.01, 0.1, 1]'))

    assert list(by_range.cells) == list(typed.cells)


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("log(1, 64, 7)", int, [1, 2, 4, 8, 16, 32, 64]),
        ("linear(0, 1, 5)", float, [0, 0.25, 0.5, 0.75, 1]),
        ("range(3)", int, [0, 1, 2]),
        ("range(5, 8)", int, [5, 6, 7]),
    ],
)
def test_ranges_write_out_their_values(text, kind, values):
    found = list(value_ranges.span(text, kind))

    assert found == values
    assert all(type(value) is kind for value in found)


def test_other_settings_and_another_order_give_no_other_addresses(read):
    """Defaults written out, and tables in another order, are the same cell."""
    short = plain(algo='name = "maml"')
    long = '[family]\nname = "quadratic"\ndim = 20\n[probe]\nname = "variance"\nbatch = 25\n'
    long += (
        '[algo]\nname = "maml"\nsteps = 1\ninner_optimizer.rate = 0.01\n[compute]\nchunk = 512\n'
    )

    assert list(read(short).cells) == list(read(long).cells)


def test_the_version_of_a_class_is_part_of_the_address(read, monkeypatch):
    from metabench.algorithms.maml import MAML

    before = list(read(plain()).cells)
    monkeypatch.setattr(MAML, "version", 2)

    assert list(read(plain()).cells) != before


def test_files_are_found_next_to_the_study(read, tmp_path, monkeypatch):
    torch.save(torch.zeros(20), tmp_path / "theta.pt")
    (tmp_path / "mine.py").write_text(
        "from metabench import Quadratic\nclass Mine(Quadratic): pass"
    )
    monkeypatch.chdir("/")

    text = plain(top='theta = "theta.pt"').replace('"quadratic"', '"mine.py:Mine"')
    (cell,) = read(text).cells.values()

    assert cell.spec["theta"].startswith("theta.pt@")
    assert cell.spec["family"]["name"].startswith("mine@")


def test_a_theta_is_excluded_by_the_words_that_name_it(read, tmp_path):
    for name in ("one", "two"):
        torch.save(torch.zeros(20), tmp_path / f"{name}.pt")
    top = 'seed = [0, 1]\ntheta = ["", "one.pt", "two.pt"]'
    out = '[[exclude]]\ntheta = ["", "two.pt"]\nseed = 1\n[[exclude]]\ntheta = "one.pt"\nseed = 0\n'

    left = read(plain(top=top) + out).cells.values()

    found = {(cell.spec["theta"].partition("@")[0], cell.spec["seed"]) for cell in left}
    assert found == {("initial", 0), ("one.pt", 1), ("two.pt", 0)}


def test_planning_needs_no_gpu(read):
    assert settings(read(plain(top='device = "cuda"')), "device") == ["cuda"]


WRONG = [
    ("rate = [0.1", "rat = [0.1", 19, "algo.inner_optimizer.rat",
     "no field 'rat' of adam; did you mean 'ra"),
    ("inner_optimizer.rate", "inner_optimizer.rte", 13, "algo.inner_optimizer.rte",
     "no field 'rte' of maml.inner_optimizer; did you mean 'ra"),
    ("steps = [1, 2]", 'steps = [1, "x"]', 12, "algo.steps", "'x'; it must be a whole number"),
    ("steps = [1, 2]", "steps = [1, 1.5]", 12, "algo.steps", "1.5; it must be a whole number"),
    ("steps = [1, 2]", "steps = []", 12, "algo.steps", "The list is empty"),
    ("log(1e-2", "lgo(1e-2", 13, "algo.inner_optimizer.rate",
     "no range 'lgo' of values; did you mean 'log'"),
    ("log(1e-2, 1", "log(0, 1", 13, "algo.inner_optimizer.rate",
     "log(0, 1, 3) can't be read. Write log(1e"),
    ("[1, 2]\ninner", '"log(1, 3, 3)"\ninner', 12, "algo.steps",
     "contains 1.73205080757; this set"),
    ('"log(1e-2, 1, 3)"', "[1, -1]", 13, "algo.inner_optimizer",
     "The inner rate is -1.0; it must be finite"),
    ("tasks = 64", "tasks = 3", 5, "probe", "tasks is 3; an interval at B = 2 needs 16"),
    ('seed = "r', 'sede = "r', 2, "sede", "no key 'sede' of a study; did you mean 'seed'"),
    ('seed = "range(2)"', "seed = -1", 2, "seed", "The seed is -1; it must lie in"),
    ('seed = "range(2)"', "seed = true", 2, "seed", "seed is True; it must be a whole number"),
    ('seed = "range(2)"', 'dtype = "float16"', 2, "dtype", "no dtype 'float16'; did you mean"),
    ('seed = "range(2)"', 'device = "gpu0"', 2, "device", "There is no device 'gpu0'; give cpu"),
    ('seed = "range(2)"', 'device = "cuda:1"', 2, "device", "give cuda without a number"),
    ('seed = "range(2)"', 'theta = "no.pt"', 2, "theta", "to read theta from"),
    ('"fomaml"\n[', '"fomamlx"\n[', 16, "algo.name", "no algorithm 'fomamlx'; did you mean 'fo"),
    ("[algo.inner_optimizer]", "[algo.inner_optimizerp]", 17, "algo.inner_optimizerp",
     "no field 'inner_optimizerp' of fomaml; did you mean"),
    ("[[algo]]\nname = \"maml\"", '[[algoo]]\nname = "maml"', 10, "algoo", "did you mean 'algo'"),
    ("queries = [4, 8]", "queries = [4]", 3, "zip", "equally many values; given: family.shots 2"),
    ('"family.queries"', '"family.querys"', 3, "zip", "no axis 'family.querys' to zip; did you"),
    ('name = "quadratic"\n', "", 21, "family", "The name of the family is missing"),
    ("seed = 1\n", "seed = 7\n", 26, "exclude", "matches no cell"),
    ("seed = 1\n", "theta = 1\n", 26, "exclude", "matches no cell"),
    ("seed = 1\n", "sead = 1\n", 26, "exclude", "no setting 'sead' to exclude by; did you mean"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "line", "key", "sentence"), WRONG)
def test_a_wrong_study_names_line_key_and_the_nearest_right(
    read, right, wrong, line, key, sentence
):
    assert STUDY.count(right) == 1

    with pytest.raises(InvalidInput) as caught:
        read(STUDY.replace(right, wrong))

    assert f"study.toml, line {line}, {key}: " in str(caught.value)
    assert sentence in str(caught.value)


def test_what_is_no_toml_names_its_line(read):
    with pytest.raises(InvalidInput, match=r"is not a TOML file: .* line 3"):
        read("seed = 1\n\nthis is prose\n")


def test_a_study_that_is_not_there_is_misuse(tmp_path):
    with pytest.raises(InvalidInput, match=r"can't be read"):
        study.read(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("path", "line"),
    [(("many",), 2), (("a", "inline", "two"), 6), (("t", "1", "x"), 10), (("no",), 1)],
)
def test_lines_are_found_in_whatever_way_toml_is_written(path, line):
    text = (
        "# comment\nmany = [\n 1,\n]\n[a]\n"
        'inline = {one = 1, two = "[b]"}\n[[t]]\nx = 1\n[[t]]\nx = 2\n'
    )

    assert line_of(text, path) == line
