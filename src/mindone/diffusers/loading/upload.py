"""Uploads saved files to the hub."""

from __future__ import annotations

import os


def upload_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    commit_message: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    create_pr: bool = False,
    subfolder: str | None = None,
) -> str:
    """Upload a folder's files into a model repository on the hub, created if needed; returns the commit's address.

    Args:
        folder: the one that ``save_pretrained`` wrote.
        repo_id: ``owner/name``, or a name in the token's own account.
        commit_message: for the history; None means the hub's default.
        private: whether a new repository is private; None means the account's default.
        token: the hub's token, or True for the one of ``hf auth login``.
        create_pr: open a pull request instead of committing.
        subfolder: the files' folder within the repository.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=os.fspath(folder),
        path_in_repo=subfolder,
        commit_message=commit_message,
        create_pr=create_pr,
    )
    return str(commit)
