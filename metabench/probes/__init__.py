"""The probes: name -> "module:Class". Add yours here, or as an entry point of this name."""

MEMBERS = {
    "variance": "metabench.probes.variance:Variance",
    "verify": "metabench.probes.verify:Verify",
}
