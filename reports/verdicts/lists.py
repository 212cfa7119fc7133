"""All faults and all healthy cases."""

from __future__ import annotations

from reports.verdicts import (
    faults_adjoint,
    faults_data,
    faults_modules,
    faults_paths,
    faults_size,
    faults_unresolved,
    healthy_boxes,
    healthy_loops,
    healthy_losses,
    healthy_networks,
)
from reports.verdicts.cases import Fault, Healthy

FAULTS: tuple[Fault, ...] = (
    *faults_paths.FAULTS,
    *faults_size.FAULTS,
    *faults_data.FAULTS,
    *faults_adjoint.FAULTS,
    *faults_modules.FAULTS,
    *faults_unresolved.FAULTS,
)
HEALTHY: tuple[Healthy, ...] = (
    *healthy_losses.HEALTHY,
    *healthy_networks.HEALTHY,
    *healthy_loops.HEALTHY,
    *healthy_boxes.HEALTHY,
    *faults_unresolved.HEALTHY,
)
