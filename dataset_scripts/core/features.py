"""`List`, the feature of a column of lists, under any version of `datasets` that runs these scripts."""

import datasets

if hasattr(datasets, "List"):
    List = datasets.List
else:  # datasets 3, where a Sequence of dicts would become a dict of lists

    def List(feature, length=-1):
        return [feature] if isinstance(feature, dict) else datasets.Sequence(feature, length=length)
