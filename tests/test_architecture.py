"""Do imports point one way, and does help stay light?"""

from __future__ import annotations

import ast
import functools
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import metabench
from metabench.algorithms import members as algorithms
from metabench.probes import members as probes

HOME = Path(metabench.__file__).parent

# From the ground up: a folder imports from folders of earlier lines, and from itself.
STOREYS = [
    {"", "stats", "settings"},
    {"linalg", "records"},
    {"problems"},
    {"autodiff", "families"},
    {"algorithms"},
    {"estimation"},
    {"outer_loop"},
    {"probes"},
    {"report"},
    {"measurement", "testing"},
    {"grid", "diagnosis", "training", "adapters"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: storey for storey, rooms in enumerate(STOREYS) for room in rooms}


def room_of(module: str) -> str:
    """'metabench.stats.intervals' lies in 'stats'; the package itself is ''."""
    return [*module.split("."), ""][1]


def module_of(path: Path) -> str:
    parts = path.relative_to(HOME.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_of(path): path for path in sorted(HOME.rglob("*.py"))}


def within(*rooms: str) -> list[str]:
    return [module for module in PATHS if room_of(module) in rooms]


@functools.cache
def parsed(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text())


@functools.cache
def imports(module: str) -> set[str]:
    """Every module that a module imports at run time, at its top or inside a function."""
    found = set()
    tree = parsed(module)
    for_types = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            # `from metabench import stats` imports metabench.stats
            joined = node.module == "metabench"
            found |= {f"metabench.{a.name}" for a in node.names} if joined else {node.module}
    return found


def ours(module: str) -> set[str]:
    return {room_of(name) for name in imports(module) if name.split(".")[0] == "metabench"}


def others(module: str) -> set[str]:
    """Third-party packages that a module imports."""
    tops = {name.split(".")[0] for name in imports(module)}
    return tops - set(sys.stdlib_module_names) - {"metabench", "__future__"}


def test_every_room_has_its_place():
    assert {room_of(module) for module in PATHS} == set(FLOOR)


def test_imports_point_one_way():
    upward = {
        (module, to)
        for module in PATHS
        for to in ours(module) - {room_of(module)}
        if FLOOR[to] >= FLOOR[room_of(module)]
    }

    assert upward == set()


def test_the_path_from_a_problem_to_a_command_is_one_line():
    """The arrow of the design, each folder strictly above the one before."""
    arrow = ["problems", "autodiff", "algorithms", "estimation", "probes", "measurement", "cli"]

    floors = [FLOOR[room] for room in arrow]
    assert floors == sorted(set(floors))


def test_the_package_shows_at_most_22_entries():
    entries = [path for path in HOME.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 22


def test_families_know_nothing_of_algorithms():
    for module in within("families"):
        assert ours(module) <= {"problems", "settings", "families", ""}, module


def test_statistics_need_numpy_and_scipy_only():
    for module in within("stats"):
        assert ours(module) <= {"stats"}, module
        assert others(module) <= {"numpy", "scipy"}, module


def test_within_probes_only_modules_that_measure_import_torch():
    importing = [module for module in within("probes") if "torch" in others(module)]

    assert importing
    assert [m for m in importing if not m.rpartition(".")[2].startswith("measure")] == []


def test_no_probe_imports_another():
    listed = {f"metabench.probes.{name}" for name in probes.MEMBERS}

    for module in within("probes"):
        imported = {".".join(name.split(".")[:3]) for name in imports(module)}
        assert imported & listed <= {".".join(module.split(".")[:3])}, module


def test_probes_ask_what_an_algorithm_can_not_which_it_is():
    listed = {target.partition(":")[0] for target in algorithms.MEMBERS.values()}

    for module in within("probes"):
        assert imports(module) & listed == set(), module


def test_what_makes_a_page_imports_no_torch():
    """But for what writes tensors and names the devices, which no page needs."""
    modules = within("report", "records", "settings")

    importing = {module for module in modules if "torch" in others(module)}
    assert importing == {
        "metabench.records.checksummed_tensors",
        "metabench.records.provenance",
    }


def test_only_the_command_line_knows_click():
    importing = {room_of(module) for module in PATHS if "click" in others(module)}

    assert importing == {"cli"}


def test_only_the_command_line_prints():
    for module in set(PATHS) - set(within("cli")):
        tree = parsed(module)
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert calls & {"print", "sys.stdout.write", "sys.stderr.write"} == set(), module


def test_second_derivatives_have_one_door():
    words = {"grad", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "hessian", "linearize"}

    using = set()
    for module in PATHS:
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
                named = {alias.name for alias in node.names}
                using |= {module} if named & (words | {"autograd"}) else set()
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(
                ("torch.autograd", "torch.func")
            ):
                using.add(module)

    assert using == {"metabench.autodiff.derivatives"}


def test_only_vectorization_knows_that_there_are_many_tasks():
    vmapping = {module_of(path) for path in HOME.rglob("*.py") if "import vmap" in path.read_text()}

    assert vmapping == {
        "metabench.autodiff.per_task_products",
        "metabench.estimation.vectorization",
    }


HEAVY = {"torch", "scipy.stats", "matplotlib", "pandas", "sklearn"}


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["variance", "--help"],
        ["probe", "metabench.probes.cost:Cost", "--help"],
        ["list"],
        ["list", "-h"],
        ["grid", "--help"],
    ],
)
def test_help_and_the_list_import_nothing_heavy(command):
    code = (
        "import sys; from metabench.cli.main import main; main(standalone_mode=False); "
        "print('|'.join(sys.modules))"
    )

    said = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    ).stdout

    imported = set(said.splitlines()[-1].split("|"))
    assert "metabench.cli.main" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize("command", [["--help"], ["variance", "--help"], ["list", "--help"]])
def test_help_takes_less_than_half_a_second(command):
    """Of processor time, which other work on the machine disturbs least."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "metabench", *command], capture_output=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(seconds) < 0.5


def test_a_page_is_made_where_there_is_no_torch():
    code = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
from metabench import Row, Variance, page, to_table
rows = [Row("variance", at=float(B), value=1 / B, low=0.9 / B, high=1.1 / B) for B in (1, 2)]
rows += [Row("slope", value=-1.0, low=-1.1, high=-0.9), Row("mean_norm_squared", value=0.5)]
probe, table = Variance(), to_table(rows)
print(page(probe, table, probe.find(table)))
"""

    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "Variance falls as B^-1.00" in made.stdout
