"""Checkpoints that are one file: by path, in a folder or repository, by address."""

import huggingface_hub
import pytest

from mindone.diffusers.loading.hub_files import FileSource
from test_loading_hub import FakeHub

USUAL = "pytorch_lora_weights.safetensors"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    files = ["README.md", "pixel.safetensors", "old.bin", "models/ip-adapter_sd15.safetensors"]
    return FakeHub(tmp_path / "hub", files, None).install(monkeypatch)


def test_a_file_on_this_machine_is_itself(tmp_path):
    path = tmp_path / "lora.safetensors"
    path.touch()
    assert FileSource(path).file(usual=USUAL) == path
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.safetensors"):
        FileSource(tmp_path / "absent.safetensors").file()


def test_a_folders_file_is_the_named_the_usual_or_the_only_one(tmp_path):
    (tmp_path / "one.safetensors").touch()
    assert FileSource(tmp_path).file(usual=USUAL).name == "one.safetensors"
    (tmp_path / "two.safetensors").touch()
    assert FileSource(tmp_path).file("two.safetensors").name == "two.safetensors"
    with pytest.raises(FileNotFoundError, match=r"needs weight_name=; it has one.safetensors, two.safetensors"):
        FileSource(tmp_path).file(usual=USUAL)
    (tmp_path / USUAL).touch()
    assert FileSource(tmp_path).file(usual=USUAL).name == USUAL
    with pytest.raises(FileNotFoundError, match=r"has no three.safetensors; it has one.safetensors"):
        FileSource(tmp_path).file("three.safetensors")


def test_a_repositorys_file_alone_is_fetched(hub):
    path = FileSource("acme/loras").file("models/ip-adapter_sd15.safetensors")
    assert path.is_file()
    assert hub.fetched == ["models/ip-adapter_sd15.safetensors"]
    assert FileSource("acme/loras").file(usual=USUAL).name == "pixel.safetensors"


def test_a_file_that_another_one_needs_is_fetched_with_it(tmp_path, monkeypatch):
    """peft's tensors mean nothing without their config; where there is none, the file comes alone."""
    hub = FakeHub(tmp_path / "hub", ["unet/adapter_model.safetensors", "unet/adapter_config.json"], None)
    hub.install(monkeypatch)
    source = FileSource("acme/loras")
    path = source.file("unet/adapter_model.safetensors", beside="adapter_config.json")
    assert path.with_name("adapter_config.json").is_file()
    assert sorted(hub.fetched) == ["unet/adapter_config.json", "unet/adapter_model.safetensors"]
    assert source.file("unet/adapter_model.safetensors", beside="none.json").is_file()


@pytest.mark.parametrize("host", ["https://huggingface.co", "huggingface.co", "https://hf.co"])
@pytest.mark.parametrize("kind", ["blob", "resolve"])
def test_an_address_on_the_hub_says_repository_revision_and_path(hub, host, kind):
    path = FileSource(f"{host}/acme/loras/{kind}/v2/pixel.safetensors?download=true").file()
    assert path.name == "pixel.safetensors"
    assert hub.calls[-1]["revision"] == "v2"
    assert hub.fetched == ["pixel.safetensors"]


def test_other_addresses_and_pickles_are_refused(tmp_path, hub):
    with pytest.raises(ValueError, match=r"is no address of a file on the hub; fetch the file and give its path"):
        FileSource("https://example.org/lora.safetensors").file()
    with pytest.raises(ValueError, match=r"old.bin is a pickle file"):
        FileSource("acme/loras").file("old.bin")
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(ValueError, match=r"model.ckpt is a pickle file"):
        FileSource(tmp_path / "model.ckpt").file()


@pytest.mark.parametrize(
    ("name", "options", "asked", "message"),
    [
        ("one.safetensors", {}, {"name": "two.safetensors"}, "is one file, so weight_name='two.safetensors' has no"),
        ("one.safetensors", {}, {"subfolder": "b"}, "is one file, so subfolder='b' has no effect; leave it out"),
        ("hub", {}, {"name": "two.safetensors"}, "is one file, so weight_name='two.safetensors' has no effect"),
        ("hub", {"revision": "v3"}, {}, "revision 'v3' is not that of https://hf.co/.*, 'v2'; leave it out"),
        ("one.safetensors", {"revision": "v3"}, {}, "revision 'v3' names a version on the hub, and .* is on this"),
        ("", {"revision": "v3"}, {}, "revision 'v3' names a version on the hub, and .* is on this machine; leave"),
        ("icons-lcm-lora", {"revision": "v3"}, {}, "revision 'v3' names a version on the hub, and icons-lcm-lora is"),
    ],
)
def test_what_one_file_or_folder_here_cannot_honour_is_refused(tmp_path, hub, name, options, asked, message):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.safetensors").touch()
    address = "https://hf.co/acme/loras/blob/v2/pixel.safetensors"
    given = address if name == "hub" else name if name.startswith("icons") else tmp_path / "a" / name
    with pytest.raises(ValueError, match=message):
        FileSource(given, **options).file(**asked)


def test_the_name_and_the_folder_of_the_only_file_may_be_given(tmp_path, hub):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.safetensors").touch()
    assert FileSource(tmp_path / "a" / "one.safetensors").file("one.safetensors", subfolder="a").is_file()
    assert FileSource(tmp_path / "a" / "one.safetensors", revision="main").file().is_file()
    assert FileSource("https://hf.co/acme/loras/blob/v2/pixel.safetensors", "v2").file("pixel.safetensors").is_file()


def test_without_a_network_the_usual_file_is_asked_for(tmp_path, monkeypatch):
    def unreachable(*args, **options):
        raise OSError("no network in tests")

    asked = []

    def download(*args, allow_patterns, **options):
        asked.append(allow_patterns)
        return tmp_path

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    (tmp_path / USUAL).touch()
    assert FileSource("acme/loras", local_files_only=True).file(usual=USUAL).name == USUAL
    assert asked == [[USUAL]]
