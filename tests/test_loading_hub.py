"""From names to folders: local ones, bundled ones, and the hub's, without a network."""

import fnmatch
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import utils as hub_utils

from mindone.diffusers.loading import hub, open_weights, save_file
from mindone.diffusers.loading.hub import Kind, Source, component_folder, component_names
from mindone.diffusers.loading.hub_files import FileSource
from mindone.diffusers.loading.tokenizer import CLIPTokenizer
from mindone.diffusers.utils import logging

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.35.2",
    "requires_safety_checker": True,
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": [None, None],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
FILES = [
    "README.md",
    "v1-5-pruned.ckpt",
    "v1-5-pruned.safetensors",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "safety_checker/model.fp16.safetensors",
    "safety_checker/pytorch_model.bin",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
]


def fill(root: Path, files: list[str] = FILES, index: dict[str, Any] | None = None) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    if index is not None:
        (root / "model_index.json").write_text(json.dumps(index))
    return root


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whatever would go to the hub fails as it does on a machine without a network."""

    def unreachable(*args, **options):
        raise hub_utils.OfflineModeIsEnabled("no network in tests")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)


@pytest.fixture
def cache(tmp_path) -> Path:
    """The hub's cache, with one whole pipeline and one single model in it."""
    for repository, files, index in (
        ("models--acme--sd", FILES, INDEX),
        ("models--acme--taesd", ["config.json", "diffusion_pytorch_model.safetensors"], None),
        ("models--acme--pickles", ["config.json", "diffusion_pytorch_model.bin"], None),
    ):
        folder = tmp_path / "cache" / repository
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(COMMIT)
        fill(folder / "snapshots" / COMMIT, files, index)
    return tmp_path / "cache"


class FakeHub:
    """Stands for huggingface_hub's download: notes what is asked for, and gives the files that match."""

    def __init__(self, root: Path, files: list[str] = FILES, index: dict[str, Any] | None = INDEX):
        self.repository = fill(root / "repository", files, index)
        self.root = root / "snapshots" / COMMIT
        self.calls: list[dict[str, Any]] = []

    def install(self, monkeypatch) -> "FakeHub":
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **options: self.info)
        return self

    @property
    def info(self) -> SimpleNamespace:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.names])

    @property
    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.repository)) for p in self.repository.rglob("*") if p.is_file())

    @property
    def fetched(self) -> list[str]:
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())

    def fetch(self, name: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.repository / name, self.root / name)

    def snapshot(self, repository: str, allow_patterns: list[str], **options: Any) -> str:
        self.calls.append({"repository": repository, **options})
        self.root.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                self.fetch(name)
        return str(self.root)


def pipeline(name: str | Path, variant: str | None = None, without: tuple[str, ...] = (), **options: Any) -> Path:
    """The folder of a pipeline with all its components, or without some."""
    source = Source(name, **options)
    return source.pipeline(component_names(source.index(), without), variant)


def resolve(
    name: str | Path,
    needed: Kind = "model",
    subfolder: str | None = None,
    variant: str | None = None,
    **options: Any,
) -> Path:
    """The folder of a single component."""
    return Source(name, **options).component(needed, subfolder, variant)


def find(needed: str, name: str, **options: Any) -> Path:
    return pipeline(name, **options) if needed == "pipeline" else resolve(name, needed=needed, **options)


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- local and bundled -------------------------------------------------------------------------------------------


def test_a_local_folder_comes_first(tmp_path, monkeypatch):
    fill(tmp_path / "icons", index=INDEX)
    monkeypatch.chdir(tmp_path)
    assert pipeline("icons") == Path("icons")
    assert resolve(tmp_path / "icons", subfolder="unet") == tmp_path / "icons" / "unet"


def test_a_pipeline_needs_a_model_index(tmp_path):
    fill(tmp_path, ["readme.txt"])
    with pytest.raises(FileNotFoundError) as caught:
        pipeline(tmp_path)
    assert f"no model_index.json in {tmp_path}: it has readme.txt" in one_line(caught)


def test_a_component_taken_for_a_pipeline_is_recognised(tmp_path):
    fill(tmp_path, ["config.json"])
    with pytest.raises(FileNotFoundError, match="it is a single component: load it with its own class"):
        pipeline(tmp_path)


def test_a_pipeline_taken_for_a_component_is_recognised(tmp_path):
    fill(tmp_path, ["unet/config.json", "vae/config.json"], INDEX)
    with pytest.raises(FileNotFoundError, match=r"no config.json in .*: it is a whole pipeline: .* one of unet, vae"):
        resolve(tmp_path)


def test_a_component_needs_its_config(tmp_path):
    fill(tmp_path, ["unet/diffusion_pytorch_model.safetensors"], INDEX)
    with pytest.raises(FileNotFoundError, match=r"no config.json in .*unet: it has diffusion_pytorch_model"):
        resolve(tmp_path, subfolder="unet")
    with pytest.raises(FileNotFoundError, match=r"no folder 'vae' in .*; it has unet"):
        resolve(tmp_path, subfolder="vae")


def test_a_file_is_no_folder(tmp_path):
    fill(tmp_path, ["model.safetensors"])
    with pytest.raises(FileNotFoundError, match="is a file; give the folder"):
        resolve(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["icns", "./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c", "c:\\models\\sd", ""])
def test_what_cannot_be_a_hub_id_is_refused_at_once(name, bundle):
    with pytest.raises(FileNotFoundError) as caught:
        resolve(name)
    message = one_line(caught)
    assert message.startswith(f"unknown model {name!r}: no such local folder, and no hub id")
    assert "icons, icons-distilled, icons-lcm-lora, icons-tiny-vae" in message


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "checkpoints"
    fill(root / "icons", ["vae/config.json", "unet/config.json", "scheduler/scheduler_config.json"], INDEX)
    fill(root / "icons-distilled", ["unet/config.json"], INDEX)
    (root / "icons-distilled" / "shared.json").write_text('{"vae": "icons", "scheduler": "icons"}')
    fill(root / "icons-tiny-vae", ["config.json"])
    fill(root / "icons-lcm-lora", ["pytorch_lora_weights.safetensors"])
    (root / "NOTICE").write_text("")
    monkeypatch.setattr(hub, "CHECKPOINTS", root)
    return root


def test_bundled_names_are_found(bundle):
    assert hub.bundled_names() == ["icons", "icons-distilled", "icons-lcm-lora", "icons-tiny-vae"]
    assert pipeline("icons") == bundle / "icons"
    assert FileSource("icons-lcm-lora").file() == bundle / "icons-lcm-lora/pytorch_lora_weights.safetensors"
    assert resolve("icons-tiny-vae") == bundle / "icons-tiny-vae"


def test_bundled_checkpoints_share_components(bundle):
    assert resolve("icons-distilled", subfolder="vae") == bundle / "icons" / "vae"
    assert resolve("icons-distilled", subfolder="unet") == bundle / "icons-distilled" / "unet"
    assert resolve("icons-distilled", needed="scheduler", subfolder="scheduler") == bundle / "icons" / "scheduler"


def test_a_component_that_nobody_shares_is_named(bundle):
    with pytest.raises(FileNotFoundError, match=r"no folder 'text_encoder' in .*icons-distilled; it has unet"):
        component_folder(bundle / "icons-distilled", "text_encoder")


def test_components_are_read_from_the_index(tmp_path):
    index = Source(fill(tmp_path, [], INDEX)).index()
    assert index == INDEX
    assert component_names(index)["unet"] == "UNet2DConditionModel"
    plain = {"_class_name", "_diffusers_version", "requires_safety_checker", "image_encoder"}
    assert set(component_names(index)) == {*INDEX} - plain
    assert set(component_names(index, without=["vae"])) == {*INDEX} - plain - {"vae"}


# ---- the hub's cache, without a network ------------------------------------------------------------------------------


@pytest.mark.parametrize("local_files_only", [True, False])
def test_a_cached_pipeline_is_found_without_a_network(cache, local_files_only):
    root = pipeline("acme/sd", cache_dir=cache, local_files_only=local_files_only)
    assert root == cache / "models--acme--sd" / "snapshots" / COMMIT


def test_a_cached_model_is_found_without_a_network(cache):
    assert resolve("acme/taesd", cache_dir=cache).name == COMMIT
    assert resolve("acme/sd", subfolder="unet", cache_dir=cache, variant="fp16").name == "unet"


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_cached_revision_is_found(cache, revision):
    assert resolve("acme/taesd", cache_dir=cache, revision=revision).name == COMMIT


def test_a_revision_that_is_not_cached_is_named(cache):
    with pytest.raises(FileNotFoundError, match=r"acme/taesd at revision 'v2' is not in the local cache"):
        resolve("acme/taesd", cache_dir=cache, revision="v2", local_files_only=True)


@pytest.mark.parametrize("needed", ["pipeline", "model"])
def test_no_network_and_no_cache_is_said_in_one_line(cache, bundle, needed):
    with pytest.raises(ConnectionError) as caught:
        find(needed, "acme/unknown", cache_dir=cache)
    message = one_line(caught)
    assert message.startswith("cannot fetch acme/unknown: the hub cannot be reached")
    assert "it is no local folder and not bundled (bundled checkpoints: icons, icons-distilled" in message


def test_local_files_only_without_a_cache_is_said_in_one_line(cache):
    with pytest.raises(FileNotFoundError) as caught:
        pipeline("acme/unknown", cache_dir=cache, local_files_only=True)
    assert "is not in the local cache, and local_files_only=True forbids fetching it" in one_line(caught)


def test_a_cached_pickle_is_not_taken_for_weights(cache):
    with pytest.raises(ValueError, match=r"acme/pickles has no safetensors weights, only diffusion_pytorch_model.bin"):
        resolve("acme/pickles", cache_dir=cache)


def test_a_cache_without_the_index_says_so(cache):
    with pytest.raises(FileNotFoundError, match=r"the local cache lacks model_index.json of acme/taesd; connect"):
        pipeline("acme/taesd", cache_dir=cache)


def test_an_incomplete_cache_names_the_component(cache):
    unet = cache / "models--acme--sd" / "snapshots" / COMMIT / "unet"
    for name in FILES:
        if name.startswith("unet/") and name != "unet/config.json":
            (unet.parent / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"the local cache lacks the safetensors weights of unet of acme/sd"):
        pipeline("acme/sd", cache_dir=cache)


def test_a_variant_that_is_not_cached_is_named(cache):
    with pytest.raises(FileNotFoundError, match=r"acme/taesd: variant='fp16' is not there; there is variant=None"):
        resolve("acme/taesd", cache_dir=cache, variant="fp16")


# ---- what is asked of the hub ----------------------------------------------------------------------------------------


def test_only_what_is_read_is_fetched(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path).install(monkeypatch)
    assert pipeline("acme/sd", revision="main", token="secret", cache_dir=tmp_path) == fake.root
    assert fake.fetched == [
        "feature_extractor/preprocessor_config.json",
        "model_index.json",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    for call in fake.calls:
        assert call["revision"] == "main"
        assert (call["token"], call["cache_dir"], call["local_files_only"]) == ("secret", str(tmp_path), False)


@pytest.mark.parametrize(("variant", "others"), [("fp16", ".fp16"), ("non_ema", "")])
def test_a_variants_weights_are_fetched_and_plain_ones_of_networks_without_it(
    variant, others, tmp_path, monkeypatch, caplog
):
    fake = FakeHub(tmp_path).install(monkeypatch)
    pipeline("acme/sd", variant=variant)
    assert [name for name in fake.fetched if name.endswith(".safetensors")] == [
        f"safety_checker/model{others}.safetensors",
        f"text_encoder/model{others}.safetensors",
        f"unet/diffusion_pytorch_model.{variant}.safetensors",
        f"vae/diffusion_pytorch_model{others}.safetensors",
    ]
    assert not caplog.messages  # that they are plain is said once, where they are read


def test_components_that_are_not_wanted_are_not_fetched(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path).install(monkeypatch)
    pipeline("acme/sd", without=("safety_checker", "vae"))
    assert not [name for name in fake.fetched if name.startswith(("safety_checker", "vae"))]
    assert "unet/config.json" in fake.fetched


@pytest.mark.parametrize("variant", [None, "fp16"], ids=["plain", "fp16"])
def test_shards_are_fetched_with_their_index(tmp_path, monkeypatch, variant):
    dotted = f".{variant}" if variant else ""
    shards = [f"unet/diffusion_pytorch_model{dotted}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    published = f"unet/diffusion_pytorch_model.safetensors.index{dotted}.json"
    for index in (published, f"unet/diffusion_pytorch_model{dotted}.safetensors.index.json"):
        fake = FakeHub(tmp_path / index, ["unet/config.json", index, *shards]).install(monkeypatch)
        resolve("acme/sd", subfolder="unet", variant=variant)
        assert set(fake.fetched) == {"unet/config.json", index, *shards}


def test_a_single_model_is_fetched_from_the_root(tmp_path, monkeypatch):
    files = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "taesd.png"]
    fake = FakeHub(tmp_path, files, None).install(monkeypatch)
    assert resolve("acme/taesd") == fake.root
    assert fake.fetched == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_a_scheduler_is_its_config_alone(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path).install(monkeypatch)
    assert resolve("acme/sd", needed="scheduler", subfolder="scheduler") == fake.root / "scheduler"
    assert fake.fetched == ["scheduler/scheduler_config.json"]


def test_a_tokenizer_loads_from_the_hub(tmp_path, monkeypatch):
    from golden import tokenizer_make

    fake = FakeHub(tmp_path)
    tokenizer_make.write_files(fake.repository / "tokenizer")
    fake.install(monkeypatch)
    assert CLIPTokenizer.from_pretrained("acme/sd", subfolder="tokenizer").model_max_length == 77
    assert all(name.startswith("tokenizer/") for name in fake.fetched)


def test_a_variant_that_the_repository_lacks_lists_those_it_has(tmp_path, monkeypatch):
    FakeHub(tmp_path).install(monkeypatch)
    with pytest.raises(FileNotFoundError) as caught:
        resolve("acme/sd", subfolder="unet", variant="fp8")
    assert one_line(caught).endswith('there is variant=None, variant="fp16", variant="non_ema"')


def test_a_repository_of_pickles_is_refused(tmp_path, monkeypatch):
    files = [name for name in FILES if not (name.startswith("unet/") and name.endswith(".safetensors"))]
    FakeHub(tmp_path, files).install(monkeypatch)
    with pytest.raises(ValueError) as caught:
        pipeline("acme/sd")
    assert one_line(caught).startswith("unet of acme/sd has no safetensors weights, only diffusion_pytorch_model.bin")


def test_a_repository_without_model_index_is_no_pipeline(tmp_path, monkeypatch):
    FakeHub(tmp_path, ["config.json"], None).install(monkeypatch)
    with pytest.raises(FileNotFoundError, match=r"acme/taesd has no model_index.json, so it is no pipeline"):
        pipeline("acme/taesd")


def answering(monkeypatch, error: Exception) -> None:
    def fail(*args: Any, local_files_only: bool = False, **options: Any) -> str:
        raise hub_utils.LocalEntryNotFoundError("not cached") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)


def told(kind: type[Exception]) -> Exception:
    """An error of the hub's, made without the response that its constructor wants."""

    class Told(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            pass

        def __str__(self) -> str:
            return "the hub's words\nover two lines"

    Told.__name__ = kind.__name__
    return Told()


@pytest.mark.parametrize(
    ("kind", "raised", "message"),
    [
        (hub_utils.RepositoryNotFoundError, FileNotFoundError, "unknown model acme/sd at revision 'v2': not on"),
        (hub_utils.GatedRepoError, PermissionError, "is gated: accept its terms"),
        (hub_utils.RevisionNotFoundError, FileNotFoundError, "acme/sd has no revision 'v2'"),
        (hub_utils.HFValidationError, FileNotFoundError, "no valid hub id owner/name"),
        (hub_utils.OfflineModeIsEnabled, ConnectionError, "the hub's words"),
        (RuntimeError, ConnectionError, r"acme/sd .* \(RuntimeError: the hub's words\); .* check the network"),
    ],
)
@pytest.mark.parametrize("needed", ["pipeline", "model"])
def test_the_hubs_refusals_are_told_in_one_line(monkeypatch, kind, raised, message, needed):
    answering(monkeypatch, told(kind))
    with pytest.raises(raised, match=message) as caught:
        find(needed, "acme/sd", revision="v2")
    one_line(caught)


def test_a_broken_proxy_does_not_hide_the_cache(monkeypatch, cache):
    real = huggingface_hub.snapshot_download

    def behind_a_proxy(*args: Any, local_files_only: bool, **options: Any) -> str:
        if not local_files_only:
            raise RuntimeError("407 Proxy Authentication Required")
        return real(*args, local_files_only=True, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", behind_a_proxy)
    assert resolve("acme/taesd", cache_dir=cache).name == COMMIT


def test_progress_bars_of_the_hub_follow_ours(tmp_path, monkeypatch):
    seen: list[bool] = []

    class Watching(FakeHub):
        def snapshot(self, *args: Any, **options: Any) -> str:
            seen.append(hub_utils.are_progress_bars_disabled())
            return super().snapshot(*args, **options)

    Watching(tmp_path).install(monkeypatch)
    before = hub_utils.are_progress_bars_disabled()
    logging.disable_progress_bar()
    try:
        resolve("acme/sd", subfolder="unet")
    finally:
        logging.enable_progress_bar()
    resolve("acme/sd", subfolder="unet")
    assert seen == [True, before]
    assert hub_utils.are_progress_bars_disabled() == before


def test_a_cached_model_opens_through_the_caches_links(tmp_path):
    blob = tmp_path / "cache" / "models--acme--vae" / "blobs" / "abc"
    blob.parent.mkdir(parents=True)
    save_file({"a": np.ones(2, dtype=np.float32)}, blob)
    snapshot = fill(tmp_path / "cache" / "models--acme--vae" / "snapshots" / COMMIT, ["config.json"])
    (snapshot / "diffusion_pytorch_model.safetensors").symlink_to(blob)
    (tmp_path / "cache" / "models--acme--vae" / "refs").mkdir()
    (tmp_path / "cache" / "models--acme--vae" / "refs" / "main").write_text(COMMIT)
    folder = resolve("acme/vae", cache_dir=tmp_path / "cache", local_files_only=True)
    assert open_weights(folder, "diffusion_pytorch_model")["a"].shape == (2,)


@pytest.mark.parametrize(
    ("files", "index", "fetched"),
    [
        (FILES, INDEX, "unet/diffusion_pytorch_model.safetensors"),
        (
            ["config.json", "diffusion_pytorch_model.safetensors", "readme.md"],
            None,
            "diffusion_pytorch_model.safetensors",
        ),
        (["style.safetensors", "readme.md"], None, "style.safetensors"),
    ],
)
def test_everything_that_loading_reads_is_fetched(tmp_path, monkeypatch, files, index, fetched):
    repository = FakeHub(tmp_path, files, index).install(monkeypatch)
    found = FileSource("acme/model").fetch()
    assert found in (repository.root, repository.root / "style.safetensors")
    assert fetched in repository.fetched and not any(
        name.endswith((".md", ".bin", ".ckpt")) for name in repository.fetched
    )
