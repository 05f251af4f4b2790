"""From what the user typed to a folder: a local folder, a checkpoint that comes with the package, or a hub id.

Of a hub repository only the files that are read are fetched: configs, tokenizer files, and the safetensors weights of
one variant. When the hub cannot be reached, what the cache holds is used, as huggingface_hub does.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ..utils import logging
from ..utils.files import read_json
from .config import GENERATION_CONFIG_NAME
from .weights import PICKLE_SUFFIXES, variants_of, weight_names

Kind = Literal["pipeline", "model", "scheduler", "tokenizer"]
Wanted = Callable[[dict[str, Any]], Collection[str]]
"""From the content of `model_index.json` to the components that are to be loaded."""

MODEL_INDEX = "model_index.json"
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
SHARED_COMPONENTS = "shared.json"
WEIGHT_BASENAMES = ("diffusion_pytorch_model", "model")

_CONFIGS: dict[str, tuple[str, ...]] = {
    "model": ("config.json",),
    "scheduler": ("scheduler_config.json",),
    "tokenizer": (
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
    ),
    "feature_extractor": ("preprocessor_config.json",),
}

logger = logging.get_logger(__name__)


def bundled_names() -> list[str]:
    """The checkpoints that come with the package, by the names that `from_pretrained` takes."""
    if not CHECKPOINTS.is_dir():
        return []
    markers = (MODEL_INDEX, "config.json")
    return sorted(path.name for path in CHECKPOINTS.iterdir() if any((path / marker).is_file() for marker in markers))


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    needed: Kind | Wanted = "model",
    subfolder: str | None = None,
    revision: str | None = None,
    variant: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The folder that holds what `from_pretrained` was asked for.

    Args:
        name_or_path: a local folder, else the name of a bundled checkpoint, else a hub id `owner/name`.
        needed: what the folder is to hold, which decides what is fetched from the hub: a "model", a "scheduler", a
            "tokenizer", or a whole "pipeline" (with `model_index.json`). A function also means a pipeline: it is given
            the content of `model_index.json` and names the components that are wanted.
        subfolder: the component's folder inside the checkpoint, such as "unet".
        revision: branch, tag or commit on the hub. Local folders have one state only.
        variant: such as "fp16": which of a model's weights to fetch.
        cache_dir: where the hub's files are kept; the hub's default when None.
        local_files_only: use the cache and never the network.
        token: for private and gated models: the token, or True for the one of `hf auth login`.

    Raises:
        FileNotFoundError: no such model, revision or file; the message says what would have worked.
        ConnectionError: the hub cannot be reached and the cache lacks the files.
        PermissionError: the model's owner wants its terms accepted first.
        ValueError: the repository has pickle weights only.
    """
    name = os.fspath(name_or_path)
    local = Path(name).expanduser()
    if name and local.is_dir():
        root = local
    elif name and local.is_file():
        raise FileNotFoundError(
            f"{name} is a file; give the folder in the published layout that it belongs to, or a hub id owner/name"
        )
    elif name in bundled_names():
        root = CHECKPOINTS / name
    else:
        _require_hub_id(name)
        source = _Hub(name, revision, cache_dir, local_files_only, token)
        return _fetch(source, needed, subfolder, variant)
    folder = component_folder(root, subfolder) if subfolder else root
    _require_config(folder, "pipeline" if callable(needed) else needed)
    return folder


def component_folder(root: str | os.PathLike[str], component: str) -> Path:
    """The folder of a checkpoint's component: `root/component`, or that of the sibling that `shared.json` names.

    A bundled checkpoint may share components with another one: `{"vae": "icons"}` in its `shared.json`.

    Raises:
        FileNotFoundError: the checkpoint has no such component.
    """
    root = Path(root)
    folder = root / component
    if folder.is_dir():
        return folder
    if (root / SHARED_COMPONENTS).is_file():
        shared = read_json(root / SHARED_COMPONENTS)
        sibling = shared.get(component) if isinstance(shared, dict) else None
        if isinstance(sibling, str) and (root.parent / sibling / component).is_dir():
            return root.parent / sibling / component
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    there = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folders"
    raise FileNotFoundError(f"no folder {component!r} in {root}; it has {there}")


def pipeline_components(root: str | os.PathLike[str], wanted: Wanted | None = None) -> dict[str, str]:
    """The class of every component that `model_index.json` names, without null ones and those not `wanted`.

    Raises:
        FileNotFoundError: the folder has no `model_index.json`.
        ValueError: the file is no JSON object.
    """
    _require_config(Path(root), "pipeline")
    index = read_json(Path(root) / MODEL_INDEX)
    if not isinstance(index, dict):
        raise ValueError(f"{Path(root) / MODEL_INDEX} must hold a JSON object, not a {type(index).__name__}")
    names = index.keys() if wanted is None else wanted(index)
    return {
        name: value[1]
        for name, value in index.items()
        if name in names
        and isinstance(value, list)
        and len(value) == 2
        and all(isinstance(part, str) for part in value)
    }


def file_patterns(component: str, kind: str, variant: str | None) -> list[str]:
    """What to fetch of a hub repository for one component, as patterns of paths; `component` "" is the root."""
    prefix = f"{component}/" if component else ""
    names = list(_CONFIGS[kind])
    if kind == "model":
        for basename in WEIGHT_BASENAMES:
            single, index = weight_names(basename, variant)
            names += [single, single.replace(".safetensors", "-*-of-*.safetensors"), index]
    return [prefix + name for name in names]


def _kind(class_name: str) -> str:
    """What a component of `model_index.json` is, by its class."""
    for suffix, kind in (("Scheduler", "scheduler"), ("Tokenizer", "tokenizer"), ("TokenizerFast", "tokenizer")):
        if class_name.endswith(suffix):
            return kind
    return "feature_extractor" if class_name.endswith(("FeatureExtractor", "ImageProcessor")) else "model"


def _bundled() -> str:
    names = bundled_names()
    return f"bundled checkpoints: {', '.join(names)}" if names else "no checkpoints are bundled"


def _require_hub_id(name: str) -> None:
    parts = name.split("/")
    if len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and "\\" not in name and " " not in name:
        return
    raise FileNotFoundError(
        f"unknown model {name!r}: no such local folder, and no hub id, which has the form owner/name ({_bundled()})"
    )


def _require_config(folder: Path, needed: str) -> None:
    """Say early what is wrong with a folder that is not what it was taken for."""
    wanted = (MODEL_INDEX,) if needed == "pipeline" else _CONFIGS[needed]
    if needed == "tokenizer":
        wanted = ("vocab.json", "tokenizer.json")
    if any((folder / file).is_file() for file in wanted):
        return
    if needed == "pipeline" and (folder / "config.json").is_file():
        hint = "it is a single component: load it with its own class"
    elif needed != "pipeline" and (folder / MODEL_INDEX).is_file():
        parts = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
        hint = f'it is a whole pipeline: name the component with subfolder="…", one of {", ".join(parts)}'
    else:
        there = sorted(path.name for path in folder.iterdir())[:12] if folder.is_dir() else []
        hint = f"it has {', '.join(there) or 'no files'}; give a folder in the published layout"
    raise FileNotFoundError(f"no {' or '.join(wanted)} in {folder}: {hint}")


class _Hub:
    """One repository at one revision, read through huggingface_hub, with its errors told in one line."""

    def __init__(
        self,
        repository: str,
        revision: str | None,
        cache_dir: str | os.PathLike[str] | None,
        local_files_only: bool,
        token: str | bool | None,
    ):
        self.repository = repository
        self.revision = revision
        self.local_files_only = local_files_only
        self.token = token
        self._options: dict[str, Any] = {
            "cache_dir": os.fspath(cache_dir) if cache_dir is not None else None,
            "token": token,
        }

    def files(self, patterns: list[str], quiet: bool = False) -> Path:
        """Fetch all files that match; the snapshot's root.

        Also for a single file: without a network, huggingface_hub retries `hf_hub_download` for half a minute.
        """
        import huggingface_hub

        fetch = huggingface_hub.snapshot_download
        what: dict[str, Any] = {**self._options, "revision": self.revision, "allow_patterns": patterns}
        with _hub_progress_bars(hidden=quiet or not logging.is_progress_bar_enabled()):
            try:
                return Path(fetch(self.repository, local_files_only=self.local_files_only, **what))
            except Exception as error:
                if self.local_files_only or _is_final(error):
                    raise self._explained(error) from None
                # huggingface_hub gives up at a proxy's or a certificate's error, where its cache may still serve.
                try:
                    return Path(fetch(self.repository, local_files_only=True, **what))
                except Exception:
                    raise self._explained(error) from None

    def names(self) -> list[str]:
        """The repository's files, or none when the hub cannot be asked."""
        import huggingface_hub

        if self.local_files_only:
            return []
        try:
            api = huggingface_hub.HfApi(token=self.token)
            return list(api.list_repo_files(self.repository, revision=self.revision))
        except Exception as error:  # it is asked only to explain a failure: that it fails too is no news
            logger.debug("cannot list the files of %s: %s", self.repository, error)
            return []

    def _explained(self, error: Exception) -> Exception:
        from huggingface_hub import utils as hub

        at = f" at revision {self.revision!r}" if self.revision else ""
        model = f"{self.repository}{at}"
        not_local = f"it is no local folder and not bundled ({_bundled()})"
        if isinstance(error, hub.LocalEntryNotFoundError):
            if self.local_files_only:
                return FileNotFoundError(
                    f"{model} is not in the local cache, and local_files_only=True forbids fetching it; {not_local}"
                )
            return ConnectionError(
                f"cannot fetch {model}: the hub cannot be reached (no network, or HF_HUB_OFFLINE is set) and the cache "
                f"lacks it; {not_local}; connect, or give a local folder"
            )
        if isinstance(error, hub.GatedRepoError):
            return PermissionError(
                f"{model} is gated: accept its terms on its hub page, then pass token=… or run `hf auth login`"
            )
        if isinstance(error, hub.RevisionNotFoundError):
            return FileNotFoundError(
                f"{self.repository} has no revision {self.revision!r}; give a branch, tag or commit"
            )
        if isinstance(error, hub.RepositoryNotFoundError):
            return FileNotFoundError(
                f"unknown model {model}: not on the hub (or private: then pass token=…), and {not_local}"
            )
        if isinstance(error, hub.HFValidationError):
            return FileNotFoundError(f"unknown model {self.repository!r}: no valid hub id owner/name, and {not_local}")
        return ConnectionError(
            f"cannot fetch {model} from the hub ({type(error).__name__}: {_first_line(error)}); {not_local}; check the "
            "network, or give a local folder"
        )


def _is_final(error: Exception) -> bool:
    """Whether the hub has answered with a no, or the cache has been asked already."""
    from huggingface_hub import utils as hub

    no = (hub.LocalEntryNotFoundError, hub.RevisionNotFoundError, hub.RepositoryNotFoundError, hub.HFValidationError)
    return isinstance(error, no)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def _hub_progress_bars(hidden: bool) -> Iterator[None]:
    """The hub draws its bars unless they are switched off there or here."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hide = hidden and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            enable_progress_bars()


def _fetch(hub: _Hub, needed: Kind | Wanted, subfolder: str | None, variant: str | None) -> Path:
    if callable(needed) or needed == "pipeline":
        return _fetch_pipeline(hub, needed if callable(needed) else None, variant)
    root = hub.files(file_patterns(subfolder or "", needed, variant))
    folder = root / subfolder if subfolder else root
    _require_config(folder, needed)
    if needed == "model":
        _require_weights(hub, folder, subfolder or "", variant)
    return folder


def _fetch_pipeline(hub: _Hub, wanted: Wanted | None, variant: str | None) -> Path:
    root = hub.files([MODEL_INDEX], quiet=True)
    if not (root / MODEL_INDEX).is_file():
        if not hub.names():
            raise FileNotFoundError(f"the local cache lacks {MODEL_INDEX} of {hub.repository}; connect to fetch it")
        raise FileNotFoundError(
            f"{hub.repository} has no {MODEL_INDEX}, so it is no pipeline; load it with its component's own class"
        )
    kinds = {name: _kind(class_name) for name, class_name in pipeline_components(root, wanted).items()}
    # The index again, so that the snapshot is whole should the branch have moved meanwhile.
    patterns = [MODEL_INDEX, GENERATION_CONFIG_NAME]
    for component, kind in kinds.items():
        patterns += file_patterns(component, kind, variant)
    root = hub.files(patterns)
    for component, kind in kinds.items():
        if kind == "model":
            _require_weights(hub, root / component, component, variant)
    return root


def _require_weights(hub: _Hub, folder: Path, component: str, variant: str | None) -> None:
    """Explain missing weights with what the repository has, which the filtered snapshot does not show."""
    accepted = {name for basename in WEIGHT_BASENAMES for name in weight_names(basename, variant)}
    if any((folder / name).is_file() for name in accepted):
        return
    prefix = f"{component}/" if component else ""
    names = hub.names()
    there = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    there = [name for name in there if "/" not in name]
    if not there and folder.is_dir():
        there = sorted(path.name for path in folder.iterdir())
    what = f"{component or 'the model'} of {hub.repository}"
    variants = sorted({found for basename in WEIGHT_BASENAMES for found in variants_of(there, basename)})
    if variants and (variant or "") not in variants:
        shown = ", ".join(f'variant="{found}"' if found else "variant=None" for found in variants)
        raise FileNotFoundError(f"{what} has no weights of variant={variant!r}; there is {shown}")
    pickles = [name for name in there if name.endswith(PICKLE_SUFFIXES)]
    if pickles and not variants:
        raise ValueError(
            f"{what} has no safetensors weights, only {', '.join(pickles)}: pickle files are not read (they can run "
            "code); take a revision that has safetensors, or convert the files to safetensors"
        )
    if not names:
        raise FileNotFoundError(
            f"the local cache lacks the safetensors weights of {what}; connect to fetch them, or give a local folder"
        )
    raise FileNotFoundError(f"{what} has no safetensors weights; it has {', '.join(there) or 'no files'}")
