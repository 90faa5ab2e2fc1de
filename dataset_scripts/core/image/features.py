"""Features that many sets have, and `List`, under any version of `datasets` that runs these scripts."""

from collections.abc import Sequence
from typing import Any

import datasets

if hasattr(datasets, "List"):
    List = datasets.List
else:  # datasets 3, where a Sequence of dicts would become a dict of lists

    def List(feature, length=-1):
        return [feature] if isinstance(feature, dict) else datasets.Sequence(feature, length=length)


def labelled(classes: Sequence[str], **more: Any) -> datasets.Features:
    """The columns of a classification set: `image`, `label` with the names of its classes, and any others."""
    return datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=list(classes)), **more)
