"""How does what one revision calls things become what the other calls them?

A file of renames is a TOML table of plain string maps, old name to new; see README.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

SECTIONS = {
    "commands": "first word of a command line; the new one may be several words",
    "options": "--option of a command line; the new one may be several words",
    "keys": "dotted key of --set and of the study; a leading part stands for all below it",
    "values": "value of an option, of --set, of the study, of a row's `of`; lists word by word",
    "quantities": "a row's quantity",
    "of": "a row's `of`, ahead of [values]; `start: ` stands for all that begin with it",
    "statuses": "a row's status, a finding's level",
    "layers": "a row's layer, a tensor's name",
    "findings": "a finding's name",
    "columns": "key of a record: rows, findings, spec, quantity, at, of, layer, value, ..",
    "files": "part of a record's path, its digest written *; own.py or study.toml for another one",
    "api": "identifier in own.py",
}


@dataclass(frozen=True)
class Renames:
    """Maps from old names to new ones; what is in none of them keeps its name."""

    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __call__(self, section: str, name: str) -> str:
        """Give the new name of one thing."""
        return self.tables.get(section, {}).get(name, name)

    def words(self, given: Sequence[str]) -> list[str]:
        """Translate a command line.

        >>> Renames({"keys": {"algo": "method"}}).words(["variance", "--set", "algo.steps=5"])
        ['variance', '--set', 'method.steps=5']
        """
        made = self("commands", given[0]).split()
        for before, word in pairwise(given):
            if word.startswith("--"):
                made += self("options", word).split()
            elif before == "--set":
                key, _, value = word.partition("=")
                made.append(f"{self.key(key)}={self.value(value)}")
            else:
                made.append(self.value(word))
        return made

    def key(self, dotted: str) -> str:
        """Translate a dotted key by the longest part of it, from the left, that is renamed."""
        parts = dotted.split(".")
        for count in range(len(parts), 0, -1):
            start = ".".join(parts[:count])
            if self("keys", start) != start:
                return ".".join([self("keys", start), *parts[count:]])
        return dotted

    def value(self, text: str) -> str:
        """Translate a value, a list word by word."""
        return ",".join(self("values", word) for word in text.split(","))

    def of(self, text: str) -> str:
        """Translate what a row is of: whole, by its start up to a colon, or by a dotted key.

        >>> renames = Renames({"of": {"pull: ": "lambda: "}, "keys": {"algo.step": "algo.inner"}})
        >>> renames.of("pull: maml"), renames.of("algo.step.rate is 0.1 there")
        ('lambda: maml', 'algo.inner.rate is 0.1 there')
        """
        table = self.tables.get("of", {})
        first, colon, rest = text.partition(": ")
        if text not in table and colon and first + colon in table:
            return table[first + colon] + rest
        word, space, rest = text.partition(" ")
        if "." in word and self.key(word) != word:
            return self.key(word) + space + rest
        return table.get(text) or self("values", text)

    def quantity(self, text: str) -> str:
        """Translate a quantity; training writes `probe: quantity`."""
        probe, colon, name = text.rpartition(": ")
        return self("values", probe) + colon + self("quantities", name)

    def python(self, text: str) -> str:
        """Translate the identifiers of a Python file."""
        return re.sub(r"\b[A-Za-z_]\w*\b", lambda found: self("api", found[0]), text)

    def study(self, text: str) -> str:
        """Translate a study that is written with dotted keys, one a line."""
        return "\n".join(self._setting(line) for line in text.split("\n"))

    def _setting(self, line: str) -> str:
        key, equals, value = line.partition(" = ")
        if not equals or line.startswith("#"):
            return line
        value = re.sub(r'"([^"]*)"', lambda found: f'"{self("values", found[1])}"', value)
        return self.key(key) + equals + value


def read(path: Path | None) -> Renames:
    """Read a file of renames; without one nothing is renamed.

    Raises:
        SystemExit: if it has a section that there is none of, or something else than names.
    """
    tables = tomllib.loads(path.read_text()) if path else {}
    for section, table in tables.items():
        if section not in SECTIONS:
            raise SystemExit(f"{path} has a section [{section}]; there are {', '.join(SECTIONS)}.")
        if not isinstance(table, dict) or not all(isinstance(new, str) for new in table.values()):
            raise SystemExit(f'{path}, [{section}]: give lines such as "old" = "new".')
    return Renames(tables)
