"""Print the oldest allowed version of each dependency in pyproject.toml, one per line."""

import tomllib
from pathlib import Path

EXTRAS = ("data", "parquet", "tensorboard", "test")  # needed by the tests

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
groups = [project["dependencies"], *(project["optional-dependencies"][name] for name in EXTRAS)]
for requirement in (requirement for group in groups for requirement in group):
    if ">=" in requirement:
        print(requirement.replace(">=", "=="))
