"""Folders on the Hub: uploaded file by file, committed at once."""

from collections.abc import Callable, Mapping
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from tqdm import tqdm

from dataset_scripts.core.errors import DataError, printable_logger

logger = printable_logger(__name__)


def check_can_write(repo_id: str, token: str | None, repo_type: str) -> None:
    """Raises a DataError for a name that no repository can have, or if there is no token."""
    try:
        huggingface_hub.utils.validate_repo_id(repo_id)
    except HFValidationError as error:
        raise DataError(
            f"repo_id={repo_id!r} is not the name of a {repo_type}, such as 'ann/photos': {error}"
        ) from error
    if not (token or huggingface_hub.get_token()):
        raise DataError(f"{repo_id}: writing to the Hub needs a token: `hf auth login`, HF_TOKEN=… or token=…")


def upload(
    files: Mapping[str, Any],
    repo_id: str,
    *,
    repo_type: str,
    private: bool,
    token: str | None,
    revision: str | None,
    message: str,
    card: Callable[[str], str],
    is_stale: Callable[[str], bool] = lambda path: False,
) -> str:
    """Uploads files to a repository on the Hub, which is created if it does not exist.

    Each file is uploaded separately and the commit comes last: after an interruption the next call does not send files
    again, and readers see the old content or the new one, never a mixture (`upload_folder` commits large folders
    in parts). If nothing has changed there is no commit.

    Args:
        files: path in the repository -> local path.
        repo_type: dataset or model.
        private: make a new repository private; an existing public one is refused.
        token: one with write access; by default the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, created if it does not exist.
        card: from the repository's full name to the content of its `README.md`.
        is_stale: which other files of the repository the commit removes.

    Returns:
        The repository's address.

    Raises:
        DataError: the repository is public or holds a script that stops `datasets`, or the Hub cannot be reached or
            refuses.
    """
    api = huggingface_hub.HfApi(token=token)
    try:
        url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        repo = {"repo_id": url.repo_id, "repo_type": repo_type}
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(**repo, branch=revision, exist_ok=True)
        info = api.repo_info(**repo, revision=revision)
        if private and not info.private:
            raise DataError(f"{url} is public already: pass private=False, or make it private in its settings first")
        if info.private and not private:
            logger.warning("%s is private already and stays so", url)
        there = {sibling.rfilename for sibling in info.siblings}
        script = url.repo_id.split("/")[-1] + ".py"
        if repo_type == "dataset" and script in there:
            raise DataError(f"{url} holds {script}, for which datasets refuses the dataset: delete it there first")
        additions = [huggingface_hub.CommitOperationAdd("README.md", card(url.repo_id).encode())]
        for path, local in tqdm(files.items(), desc=url.repo_id, unit="file"):
            if path != "README.md":
                additions.append(huggingface_hub.CommitOperationAdd(path, local))
                api.preupload_lfs_files(**repo, additions=additions[-1:], revision=revision, free_memory=False)
        stale = sorted(path for path in there - files.keys() if is_stale(path))
        removals = [huggingface_hub.CommitOperationDelete(path) for path in stale]
        api.create_commit(**repo, operations=additions + removals, commit_message=message, revision=revision)
        return str(url)
    except DataError:
        raise
    except (*HfHubHTTPError.__bases__, RuntimeError, ValueError) as error:
        raise DataError(f"{repo_id}: {fault_of(error, api.endpoint)}") from error


def fault_of(error: Exception, endpoint: str) -> str:
    """What went wrong between here and the Hub at `endpoint`, in one line, and what to do."""
    is_around = isinstance(error, (RuntimeError, LocalEntryNotFoundError)) and error.__cause__  # which file, then why
    error = error.__cause__ if is_around else error
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to reach the Hub"
    if not isinstance(error, HfHubHTTPError):
        text = " ".join(str(error).split()) or type(error).__name__
        # A failed connection is of the HTTP library's own class, whichever library that is: the first base of HfHubHTTPError.
        return f"{endpoint} cannot be reached: {text}" if isinstance(error, HfHubHTTPError.__bases__[0]) else text
    status = error.response.status_code
    advice = {
        401: "the token is not valid, or not for this repository: `hf auth login`",
        403: f"the token may not write there: make one with write access at {endpoint}/settings/tokens",
        404: "there is no such repository or branch, or the token may not see it",
    }
    said = (error.server_message or "").splitlines()
    return f"{endpoint} answered {status}{f' ({said[0]})' if said else ''}: {advice.get(status, 'try again')}"
