"""Does `verify` find the faults that were published, and pass their mended versions?"""

from __future__ import annotations

import pytest

from reports.bugs_of_history.faults import FAULTS
from reports.bugs_of_history.run import faults_of, findings, names_it

QUICK = ["--tasks", "2", "--set", "probe.directions=1"]
by_name = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@by_name
def test_a_published_fault_is_found_and_named(fault):
    broken = findings(fault.broken, QUICK)
    said = names_it(fault, broken)

    assert said is not None, broken
    assert said["state"] == "fault"
    assert said["level"] in ("warning", "critical")


@by_name
def test_its_mended_version_is_not_blamed(fault):
    mended = findings(fault.mended, QUICK)

    assert faults_of(mended) == []
    assert "verified" in [finding["name"] for finding in mended]
