"""Uploads an exported dataset to the Hub."""

import os
import re
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts.core.card.standalone import PLACEHOLDER, card_header
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import walk
from dataset_scripts.core.files.replace import scratch
from dataset_scripts.core.publish.export import export
from dataset_scripts.core.publish.hub import check_can_write, upload


def push(
    source: Any,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    revision: str | None = None,
    num_proc: int | None = None,
    commit_message: str = "Upload dataset",
    **export_kwargs: Any,
) -> str:
    """Uploads an exported folder, or an export of `source`, to the Hub as the dataset `repo_id`.

    The upload works as in `hub.upload`: the same call resumes it, and it appears complete or not at all. Parquet files in the
    repository's `data/` that do not belong to this dataset are removed by its commit, as the card's patterns would match them.

    Args:
        source: a folder that `export` wrote, or anything that `export` takes, which is first exported to the cache of
            `datasets` and removed afterwards (after a kill, with the next push to this repository).
        private: make a new repository private; an existing public one is refused.
        token: a Hub token with write access; by default the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, created if it does not exist.
        export_kwargs: arguments of `export`, if there is no folder yet.

    Returns:
        The dataset's address.

    Raises:
        DataError: the folder has no card or holds a script that stops `datasets`, the repository is public, or the Hub
            cannot be reached or refuses.
    """
    check_can_write(repo_id, token, "dataset")
    folder = Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None
    if folder is None or not any(folder.glob("data/*.parquet")):
        with scratch(Path(datasets.config.HF_DATASETS_CACHE, "push", repo_id.replace("/", "--"))) as temporary:
            folder = export(source, temporary / repo_id.split("/")[-1], num_proc=num_proc, **export_kwargs)
            return push(folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message)
    if export_kwargs:
        raise DataError(f"{folder} is exported already, so that {', '.join(export_kwargs)} has no effect: leave it out")
    files = {Path(entry.path).relative_to(folder).as_posix(): entry.path for entry in walk(folder)}
    script = repo_id.split("/")[-1] + ".py"
    if script in files:
        raise DataError(f"{folder}/{script}: datasets takes it for a loading script and refuses the dataset; rename it")
    if "README.md" not in files or not card_header(folder / "README.md").get("configs"):
        raise DataError(f"{folder} has no card (a README.md whose header has configs): write it with export()")
    return upload(
        files,
        repo_id,
        repo_type="dataset",
        private=private,
        token=token,
        revision=revision,
        message=commit_message,
        card=lambda name: Path(files["README.md"]).read_text(encoding="utf-8").replace(f'"{PLACEHOLDER}"', f'"{name}"'),
        is_stale=lambda path: bool(re.fullmatch(r"data/[^/]+\.parquet", path)),
    )
