"""Trained models on the Hub."""

from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

from dataset_scripts.core.publish.hub import check_can_write, fault_of, upload
from recipes.core.errors import UserError
from recipes.core.foreign import read_text

HERE = "path/to/this/folder"  # what a card calls its model, until it has a name on the Hub
NEEDED = ("README.md", "config.json", "model.safetensors")


def push_model(
    folder: str | Path, repo_id: str, *, private: bool = True, token: str | None = None, revision: str | None = None
) -> str:
    """Uploads a finished run to the Hub: the files of its folder, without checkpoints and evaluations.

    `load_model(repo_id)` loads it again. The upload works as for datasets, see `dataset_scripts.core.publish.hub.upload`: the
    same call resumes it, and it appears complete or not at all.

    Args:
        folder: a run folder, or a copy of its README.md, config.json and model.safetensors.
        repo_id: USER/NAME.
        private: make a new repository private; an existing public one is refused.
        token: a Hub token with write access; by default the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, created if it does not exist.

    Returns:
        The model's address.

    Raises:
        UserError: the folder is not that of a finished run.
        DataError: the repository is public, or the Hub cannot be reached or refuses.
    """
    check_can_write(repo_id, token, "model")
    folder = Path(folder)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is not the folder of a finished run: {missing[0]} is missing")
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")}
    if linked := next((path for path in files.values() if path.resolve().parent != folder.resolve()), None):
        raise UserError(f"{linked} is a link to {linked.resolve()}, outside of the folder: copy the file")
    text = read_text(folder / "README.md")
    return upload(
        files,
        repo_id,
        repo_type="model",
        private=private,
        token=token,
        revision=revision,
        message="Upload model",
        card=lambda name: text.replace(HERE, name),
    )


def fetch_model(repo_id: str, revision: str | None = None) -> Path:
    """The folder in the Hub's cache with weights and description of a model that `push_model` uploaded.

    Raises:
        UserError: there is no such model, or the Hub cannot be reached.
    """
    try:
        return Path(huggingface_hub.snapshot_download(repo_id, revision=revision, allow_patterns=[*NEEDED]))
    except (*HfHubHTTPError.__bases__, RuntimeError, ValueError) as error:
        raise UserError(
            f"{repo_id} is neither a folder here nor a model on the Hub: {fault_of(error, huggingface_hub.constants.ENDPOINT)}"
        ) from error
