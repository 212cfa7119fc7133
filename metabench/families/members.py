"""The task families: name -> "module:Class". Add yours here, or as an entry point of this name.

Their base class is metabench.families.base.Family.
"""

MEMBERS = {
    "quadratic": "metabench.families.quadratic:Quadratic",
    "sinusoid": "metabench.families.sinusoid:Sinusoid",
    "ridge": "metabench.families.ridge:Ridge",
    "logcosh": "metabench.families.logcosh:LogCosh",
    "blobs": "metabench.families.blobs:Blobs",
    "chains": "metabench.families.chains:Chains",
    "digits": "metabench.families.digits:Digits",
    "omniglot": "metabench.families.omniglot:Omniglot",
    "tabular": "metabench.families.tabular:Tabular",
    "navigation": "metabench.families.navigation:Navigation",
    "folder": "metabench.families.folder:Folder",
}
