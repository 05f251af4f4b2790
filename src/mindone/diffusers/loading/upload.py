"""Putting what was saved on the hub."""

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
    """Upload a folder's files into a model repository on the hub, made when missing, and return the commit's address.

    Args:
        folder: what ``save_pretrained`` wrote.
        repo_id: ``owner/name``, or a name in the token's own account.
        commit_message: what the history says; the hub's default when None.
        private: whether a repository made here is private; the account's default when None.
        token: the hub's token, or True for the one of ``hf auth login``.
        create_pr: open a pull request instead of committing.
        subfolder: where in the repository the files go.
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
