"""Finds the folder of a model: a local folder, a bundled checkpoint, or a hub id.

From a hub repository it fetches only the files it reads: configs, tokenizer files, and the safetensors weights of one
variant. If it cannot reach the hub, it uses the cache, as huggingface_hub does.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..utils import logging
from ..utils.errors import explained
from ..utils.files import check_path
from .config import CONFIG_NAME, GENERATION_CONFIG_NAME, read_config
from .fields import read_fields
from .safetensors import refuse_other_formats
from .weights import find_weights, missing_weights, names_file, weight_names

Kind = Literal["model", "scheduler", "tokenizer", "feature_extractor"]

MODEL_INDEX = "model_index.json"
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
SHARED_COMPONENTS = "shared.json"
WEIGHT_BASENAMES = ("diffusion_pytorch_model", "model")

_DEFAULT_BRANCH = "main"
"""The hub's own ``revision``: scripts that name it ask for nothing else."""

_CONFIGS: dict[Kind, tuple[str, ...]] = {
    "model": (CONFIG_NAME,),
    "scheduler": ("scheduler_config.json",),
    "tokenizer": (
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "spiece.model",
    ),
    "feature_extractor": ("preprocessor_config.json",),
}

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """A requested checkpoint. To load a pipeline, call `index`, choose the components, and call `pipeline`.

    Every method raises:
        FileNotFoundError: no such model, revision or file; the message says what works.
        ConnectionError: the hub cannot be reached and the cache lacks the files.
        PermissionError: you have to accept the model's terms first.
        ValueError: the repository has only pickle weights, a required file is broken, or there is a revision of what is
            on this machine.
    """

    name_or_path: str | os.PathLike[str]
    """A local folder, else the name of a bundled checkpoint, else a hub id ``owner/name``."""
    revision: str | None = None
    """Branch, tag or commit on the hub. What is on this machine has none, and is refused with one, except "main"."""
    cache_dir: str | os.PathLike[str] | None = None
    """The folder for the hub's files; None means the hub's default."""
    local_files_only: bool = False
    """Use the cache and never the network."""
    token: str | bool | None = None
    """For private and gated models: the token, or True for the one of ``hf auth login``."""

    def __post_init__(self) -> None:
        check_path("a checkpoint's name, unless it is a hub id,", self.name_or_path)
        if self.cache_dir is not None:
            check_path("cache_dir", self.cache_dir)

    def index(self) -> dict[str, object]:
        """The content of ``model_index.json``; this fetches no other file."""
        root = self._local()
        if root is None:
            root = self._snapshot([MODEL_INDEX], quiet=True)
            if not (root / MODEL_INDEX).is_file() and not self._names():
                raise FileNotFoundError(f"the local cache lacks {MODEL_INDEX} of {self._id}; connect to fetch it")
            if not (root / MODEL_INDEX).is_file():
                raise FileNotFoundError(
                    f"{self._id} has no {MODEL_INDEX}, so it is no pipeline; load it with its component's own class"
                )
        _require(root, (MODEL_INDEX,))
        return read_config(root, MODEL_INDEX)

    def pipeline(self, components: Mapping[str, str], variant: str | None = None) -> Path:
        """The folder of a pipeline with the wanted ``components``, a mapping from names to classes.

        `component_variants` says which networks have the ``variant``; of the others it fetches the files without one.
        """
        root = self._local()
        if root is not None:
            _require(root, (MODEL_INDEX,))
            return root
        kinds = {name: _kind(class_name) for name, class_name in components.items()}
        # The index again, so that the snapshot is complete even if the branch has moved meanwhile.
        patterns = [MODEL_INDEX, GENERATION_CONFIG_NAME]
        for component, kind in kinds.items():
            patterns += file_patterns(component, kind, variant)
        root = self._snapshot(patterns)
        networks = [component for component, kind in kinds.items() if kind == "model"]
        lacking = [component for component in networks if not _has_weights(root / component, variant)]
        is_mixed = variant is not None and 0 < len(lacking) < len(networks)
        if is_mixed:
            root = self._snapshot(patterns + [name for each in lacking for name in file_patterns(each, "model", None)])
        for component in lacking:
            self._require_weights(root / component, component, None if is_mixed else variant)
        return root

    def configs(self) -> Path:
        """The folder of a checkpoint's configs and tokenizers; this fetches no weights."""
        root = self._local()
        if root is not None:
            return root
        names = dict.fromkeys(name for every in _CONFIGS.values() for name in every)
        root = self._snapshot([MODEL_INDEX, GENERATION_CONFIG_NAME, *names, *(f"*/{name}" for name in names)])
        _require(root, (MODEL_INDEX, CONFIG_NAME))
        return root

    def component(self, kind: Kind, subfolder: str | None = None, variant: str | None = None) -> Path:
        """The folder of a single component: the checkpoint's root, or ``subfolder``."""
        if subfolder is not None:
            check_path("subfolder", subfolder)
        local = self._local()
        if local is not None:
            folder = component_folder(local, subfolder) if subfolder else local
            _require(folder, _main_files(kind))
            return folder
        root = self._snapshot(file_patterns(subfolder or "", kind, variant))
        folder = root / subfolder if subfolder else root
        _require(folder, _main_files(kind))
        if kind == "model":
            self._require_weights(folder, subfolder or "", variant)
        return folder

    @property
    def path(self) -> Path:
        """The name as a path, which need not exist; raises OSError if the system cannot look it up."""
        path = Path(os.path.expanduser(self.name_or_path))
        with explained(f"read {path}"):
            path.exists()
        return path

    def here(self, path: Path) -> Path:
        """The path, of a file or folder on this machine."""
        if self.revision not in (None, _DEFAULT_BRANCH):
            raise ValueError(
                f"revision {self.revision!r} names a version on the hub, and {self._id} is on this machine; leave the "
                "revision out"
            )
        return path

    @property
    def _id(self) -> str:
        return os.fspath(self.name_or_path)

    def _local(self) -> Path | None:
        """The folder on this machine; None if the name can only be a hub id."""
        name, local = self._id, self.path
        if name and local.is_dir():
            return self.here(local)
        if name and local.is_file():
            if local.suffix not in (".safetensors", ".json"):
                refuse_other_formats(local)
            raise FileNotFoundError(
                f"{name} is a file; give the folder in the published layout that it belongs to, or a hub id owner/name"
                "; from_single_file reads a .safetensors file of a whole pipeline"
            )
        if name in bundled_names():
            return self.here(CHECKPOINTS / name)
        parts = name.split("/")
        if len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and "\\" not in name and " " not in name:
            return None
        raise FileNotFoundError(
            f"unknown model {name!r}: no such local folder, and no hub id, which has the form owner/name ({_bundled()})"
        )

    def _snapshot(self, patterns: list[str], quiet: bool = False) -> Path:
        """Fetch all matching files and return the snapshot's root.

        Single files use it too: without a network, huggingface_hub retries `hf_hub_download` for half a minute.
        """
        import huggingface_hub

        def fetch(local_files_only: bool) -> Path:
            return Path(
                huggingface_hub.snapshot_download(
                    self._id,
                    revision=self.revision,
                    cache_dir=None if self.cache_dir is None else os.fspath(self.cache_dir),
                    token=self.token,
                    allow_patterns=patterns,
                    local_files_only=local_files_only,
                )
            )

        with _hub_progress_bars(hidden=quiet or not logging.is_progress_bar_enabled()):
            try:
                return fetch(self.local_files_only)
            except Exception as error:
                if self.local_files_only or _is_final(error):
                    raise self._explained(error) from None
                # huggingface_hub gives up on a proxy or certificate error, although its cache may still have the files.
                try:
                    return fetch(True)
                except Exception:
                    raise self._explained(error) from None

    def _names(self) -> list[str]:
        """The repository's files, or none if the hub cannot be reached.

        `list_repo_files` would retry for half a minute, and say so on many lines.
        """
        import huggingface_hub

        if self.local_files_only:
            return []
        try:
            known = huggingface_hub.HfApi(token=self.token).model_info(self._id, revision=self.revision, timeout=10)
            return [file.rfilename for file in known.siblings or ()]
        except Exception as error:  # this only helps to explain a failure: a second one is no news
            logger.debug("cannot list the files of %s: %s", self._id, error)
            return []

    def _explained(self, error: Exception) -> OSError:
        from huggingface_hub import utils as hub

        model = f"{self._id} at revision {self.revision!r}" if self.revision else self._id
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
            return FileNotFoundError(f"{self._id} has no revision {self.revision!r}; give a branch, tag or commit")
        if isinstance(error, hub.RepositoryNotFoundError):
            return FileNotFoundError(
                f"unknown model {model}: not on the hub (or private: then pass token=…), and {not_local}"
            )
        if isinstance(error, hub.HFValidationError):
            return FileNotFoundError(f"unknown model {self._id!r}: no valid hub id owner/name, and {not_local}")
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return ConnectionError(
            f"cannot fetch {model} from the hub ({type(error).__name__}: {first}); {not_local}; check the network, or "
            "give a local folder"
        )

    def _require_weights(self, folder: Path, component: str, variant: str | None) -> None:
        """Explain missing weights with the repository's files, which the filtered snapshot does not show."""
        if _has_weights(folder, variant):
            return
        prefix = f"{component}/" if component else ""
        names = self._names()
        there = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        there = [name for name in there if "/" not in name] or _content(folder)
        what = f"{component or 'the model'} of {self._id}"
        if not names and not any(names_file(name) for name in there):
            raise FileNotFoundError(
                f"the local cache lacks the safetensors weights of {what}; connect, or give a local folder"
            )
        raise missing_weights(what, there, WEIGHT_BASENAMES, variant)


def bundled_names() -> list[str]:
    """The bundled checkpoints, by the names that their loaders take: pipelines, networks, LoRAs."""
    return sorted(path.name for path in CHECKPOINTS.iterdir() if path.is_dir())


def component_folder(root: str | os.PathLike[str], component: str) -> Path:
    """The folder of a checkpoint's component: ``root/component``, or that of the sibling named in ``shared.json``.

    A bundled checkpoint may share components with another one: ``{"vae": "icons"}`` in its ``shared.json``.

    Raises:
        FileNotFoundError: the checkpoint has no such component.
        ValueError: ``shared.json`` does not map components to the names of sibling folders.
    """
    root = Path(root)
    folder = root / component
    if folder.is_dir():
        return folder
    shared = root / SHARED_COMPONENTS
    if shared.is_file():
        siblings = read_fields(dict[str, str], read_config(root, SHARED_COMPONENTS), str(shared))
        sibling = root.parent / Path(siblings.get(component, "")).name / component
        if component in siblings and sibling.is_dir():
            return sibling
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    there = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folders"
    raise FileNotFoundError(f"no folder {component!r} in {root}; it has {there}")


def component_variants(folders: Mapping[str, Path], variant: str | None) -> dict[str, str | None]:
    """The variant to read for every component: ``variant``, or None where only others have it, as in the reference.

    A checkpoint without it anywhere keeps it, so that loading says which variants there are.
    """
    having = {name for name, folder in folders.items() if _has_weights(folder, variant)}
    plain = {name for name, folder in folders.items() if name not in having and _has_weights(folder, None)}
    if not having or not plain:
        return dict.fromkeys(folders, variant)
    logger.warning("variant %r is not there for %s, which are read without it", variant, ", ".join(sorted(plain)))
    return {name: None if name in plain else variant for name in folders}


def component_names(index: Mapping[str, object], without: Collection[str] = ()) -> dict[str, str]:
    """The class of every component in a ``model_index.json``, except null ones and those in ``without``."""
    return {
        name: entry[1]
        for name, entry in index.items()
        if name not in without
        and isinstance(entry, list)
        and len(entry) == 2
        and all(isinstance(part, str) for part in entry)
    }


def file_patterns(component: str, kind: Kind, variant: str | None) -> list[str]:
    """The path patterns to fetch from a hub repository for one component; ``component`` "" is the root."""
    prefix = f"{component}/" if component else ""
    names = list(_CONFIGS[kind])
    if kind == "model":
        for basename in WEIGHT_BASENAMES:
            single, index = weight_names(basename, variant)
            names += [single, single.replace(".safetensors", "-*-of-*.safetensors"), index, f"{single}.index.json"]
    return [prefix + name for name in names]


def _has_weights(folder: Path, variant: str | None) -> bool:
    return any(find_weights(folder, basename, variant) is not None for basename in WEIGHT_BASENAMES)


def _kind(class_name: str) -> Kind:
    """The kind of a component in ``model_index.json``, by its class."""
    if class_name.endswith("Scheduler"):
        return "scheduler"
    if class_name.endswith(("Tokenizer", "TokenizerFast")):
        return "tokenizer"
    return "feature_extractor" if class_name.endswith(("FeatureExtractor", "ImageProcessor")) else "model"


def _main_files(kind: Kind) -> tuple[str, ...]:
    """The files that a component of this kind needs, at least one."""
    return ("vocab.json", "tokenizer.json", "spiece.model") if kind == "tokenizer" else _CONFIGS[kind]


def _bundled() -> str:
    return f"bundled checkpoints: {', '.join(bundled_names()) or 'none'}"


_PIECES = "tokenizer.model"
"""The name of SentencePiece's files, except T5's."""
_SHOWN = 3
"""The most files that a message lists."""


def _content(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _require(folder: Path, wanted: tuple[str, ...]) -> None:
    """Explain early what is wrong with an unsuitable folder."""
    if any((folder / file).is_file() for file in wanted):
        return
    if wanted == (MODEL_INDEX,) and (folder / CONFIG_NAME).is_file():
        hint = "it is a single component: load it with its own class"
    elif wanted != (MODEL_INDEX,) and (folder / MODEL_INDEX).is_file():
        parts = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
        hint = f'it is a whole pipeline: name the component with subfolder="…", one of {", ".join(parts)}'
    elif wanted == _main_files("tokenizer") and (folder / _PIECES).is_file():
        hint = (
            f"{_PIECES} alone is not read; transformers makes the other of it: "
            f'AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")'
        )
    else:
        there = _content(folder)
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        hint = f"it has {', '.join(there[:_SHOWN]) or 'no files'}{more}; give a folder in the published layout"
    raise FileNotFoundError(f"no {' or '.join(wanted)} in {folder}: {hint}")


def _is_final(error: Exception) -> bool:
    """Whether the hub has refused, or the cache has been tried already."""
    from huggingface_hub import utils as hub

    no = (hub.LocalEntryNotFoundError, hub.RevisionNotFoundError, hub.RepositoryNotFoundError, hub.HFValidationError)
    return isinstance(error, no)


@contextmanager
def _hub_progress_bars(hidden: bool) -> Iterator[None]:
    """Show the hub's progress bars unless they are switched off there or here."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hide = hidden and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            enable_progress_bars()
