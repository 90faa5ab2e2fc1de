"""An exported dataset on the Hub: uploaded file by file, committed at once."""

import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
)
from tqdm import tqdm

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.export import export
from dataset_scripts.core.export_card import PLACEHOLDER, card_header
from dataset_scripts.core.files import walk

logger = logging.getLogger(__name__)


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

    Each file is uploaded by itself and the commit comes last: what a broken upload has sent is not sent again by the
    next call, and readers see the old dataset or the new one, never a mixture (`upload_folder` commits large folders in
    parts). Parquet files in the repository's `data/` that are not of this dataset are removed by that commit, as
    the card's patterns would read them too. Where nothing has changed there is no commit.

    Args:
        source: a folder that `export` wrote, or what `export` takes; that is written to a temporary folder first.
        private: of a repository that does not exist yet; one that exists and is public is refused.
        token: a Hub token that may write; by default the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, made where it does not exist.
        export_kwargs: arguments of `export`, where there is no folder yet.

    Returns:
        The dataset's address.

    Raises:
        DataError: the folder has no card or holds a script that stops `datasets`, the repository is public, or the Hub
            cannot be reached or says no.
    """
    try:
        huggingface_hub.utils.validate_repo_id(repo_id)
    except HFValidationError as error:
        raise DataError(f"repo_id={repo_id!r} is no name of a dataset, such as 'ann/photos': {error}") from error
    if not (token or huggingface_hub.get_token()):
        raise DataError(f"{repo_id}: writing to the Hub needs a token: `hf auth login`, HF_TOKEN=… or token=…")
    folder = Path(source).expanduser() if isinstance(source, (str, os.PathLike)) else None
    if folder is None or not any(folder.glob("data/*.parquet")):
        with tempfile.TemporaryDirectory() as temporary:
            folder = export(source, Path(temporary, repo_id.split("/")[-1]), num_proc=num_proc, **export_kwargs)
            return push(folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message)
    if export_kwargs:
        raise DataError(f"{folder} is exported already: {', '.join(export_kwargs)} came too late; leave it out")
    files = {Path(entry.path).relative_to(folder).as_posix(): entry.path for entry in walk(folder)}
    script = repo_id.split("/")[-1] + ".py"
    if script in files:
        raise DataError(f"{folder}/{script}: datasets takes it for a loading script and refuses the dataset; rename it")
    if "README.md" not in files or not card_header(folder / "README.md").get("configs"):
        raise DataError(f"{folder} has no card (a README.md whose header has configs): write it with export()")
    api = huggingface_hub.HfApi(token=token)
    try:
        return _upload(api, files, repo_id, private, revision, commit_message)
    except DataError:
        raise
    except (*HfHubHTTPError.__bases__, RuntimeError, ValueError) as error:
        raise DataError(f"{repo_id}: {_reason(error, api.endpoint)}") from error


def _upload(
    api: huggingface_hub.HfApi, files: dict[str, str], repo_id: str, private: bool, revision: str | None, message: str
) -> str:
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    repo = {"repo_id": url.repo_id, "repo_type": "dataset"}
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(**repo, branch=revision, exist_ok=True)
    info = api.repo_info(**repo, revision=revision)
    if private and not info.private:
        raise DataError(f"{url} is public already: pass private=False, or make it private in its settings first")
    if info.private and not private:
        logger.warning("%s is private already and stays so", url)
    there = {sibling.rfilename for sibling in info.siblings}
    script = url.repo_id.split("/")[-1] + ".py"
    if script in there:
        raise DataError(f"{url} holds {script}, for which datasets refuses the dataset: delete it there first")
    card = Path(files["README.md"]).read_text(encoding="utf-8").replace(f'"{PLACEHOLDER}"', f'"{url.repo_id}"')
    additions = [huggingface_hub.CommitOperationAdd("README.md", card.encode())]
    for path, local in tqdm(files.items(), desc=url.repo_id, unit="file"):
        if path != "README.md":
            additions.append(huggingface_hub.CommitOperationAdd(path, local))
            api.preupload_lfs_files(**repo, additions=additions[-1:], revision=revision, free_memory=False)
    stale = sorted(path for path in there - files.keys() if re.fullmatch(r"data/[^/]+\.parquet", path))
    removals = [huggingface_hub.CommitOperationDelete(path) for path in stale]
    api.create_commit(**repo, operations=additions + removals, commit_message=message, revision=revision)
    return str(url)


def _reason(error: Exception, endpoint: str) -> str:
    error = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error  # which file, then why
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to upload"
    if not isinstance(error, HfHubHTTPError):
        text = " ".join(str(error).split()) or type(error).__name__
        # A failed connection is of the HTTP library's own class, whichever library that is: the first base of HfHubHTTPError.
        return f"{endpoint} cannot be reached: {text}" if isinstance(error, HfHubHTTPError.__bases__[0]) else text
    status = error.response.status_code
    advice = {
        401: "the token is not valid, or no token for this repository: `hf auth login`",
        403: f"the token may not write there: make one with write access at {endpoint}/settings/tokens",
        404: "there is no such repository or branch, or the token may not see it",
    }
    said = (error.server_message or "").splitlines()
    return f"{endpoint} answered {status}{f' ({said[0]})' if said else ''}: {advice.get(status, 'try again')}"
