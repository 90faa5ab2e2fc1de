"""An exported dataset on the Hub."""

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
    """Puts an exported folder, or the export of what `source` loads, on the Hub as the dataset `repo_id`.

    The upload is that of `hub.upload`: resumed by the same call, and seen at once or not at all. Parquet files in the
    repository's `data/` that are not of this dataset are removed by its commit, as the card's patterns would read them too.

    Args:
        source: a folder that `export` wrote, or what `export` takes; that is written to the cache of `datasets` first, and
            gone afterwards (after a kill, with the next push to this repository).
        private: of a repository that does not exist yet; one that exists and is public is refused.
        token: a Hub token that may write; by default the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, made if it does not exist.
        export_kwargs: arguments of `export`, if there is no folder yet.

    Returns:
        The dataset's address.

    Raises:
        DataError: the folder has no card or holds a script that stops `datasets`, the repository is public, or the Hub
            cannot be reached or says no.
    """
    check_can_write(repo_id, token, "dataset")
    folder = Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None
    if folder is None or not any(folder.glob("data/*.parquet")):
        with scratch(Path(datasets.config.HF_DATASETS_CACHE, "push", repo_id.replace("/", "--"))) as temporary:
            folder = export(source, temporary / repo_id.split("/")[-1], num_proc=num_proc, **export_kwargs)
            return push(folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message)
    if export_kwargs:
        raise DataError(f"{folder} is exported already: {', '.join(export_kwargs)} came too late; leave it out")
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
