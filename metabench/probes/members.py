"""The probes: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "agreement": "metabench.probes.agreement:Agreement",
    "constants": "metabench.probes.constants:Constants",
    "cost": "metabench.probes.cost:Cost",
    "explosion": "metabench.probes.explosion:Explosion",
    "spectrum": "metabench.probes.spectrum:Spectrum",
    "variance": "metabench.probes.variance:Variance",
    "verify": "metabench.probes.verify:Verify",
}
