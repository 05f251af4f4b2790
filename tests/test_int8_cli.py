"""int8 on the command line."""

import pytest
from click.testing import CliRunner

from mindone.diffusers.cli import main
from mindone.diffusers.loading.safetensors import SafetensorsFile
from tiny_pipelines import checkpoint


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.mark.heavy
def test_quantize_writes_a_checkpoint_that_generate_draws_with(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red cat\n\na mat\n")
    folder = tmp_path / "int8"
    result = run("quantize", "--model", checkpoint("sd1"), "-o", folder, "--steps", 1, "--prompts", prompts)
    assert result.exit_code == 0, result.output

    before, after = (
        (place / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size for place in (checkpoint("sd1"), folder)
    )
    assert after < before
    result = run("generate", "a red cat", "--model", folder, "--steps", 1, "--seed", 0, "-o", tmp_path / "cat.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "cat.png").exists()


def test_text_encoders_alone_are_rounded(tmp_path):
    result = run("quantize", "--model", checkpoint("sd1"), "-o", tmp_path / "int8", "--text-encoders-only")
    assert result.exit_code == 0, result.output
    for role, name in (("text_encoder", "model"), ("unet", "diffusion_pytorch_model")):
        tensors = SafetensorsFile(tmp_path / "int8" / role / f"{name}.safetensors").values()
        kinds = {tensor.dtype for tensor in tensors if len(tensor.shape) > 1}
        assert kinds == ({"I8"} if role == "text_encoder" else {"F16"}), role


def test_quantize_does_not_write_over_anything(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    result = run("quantize", "-o", tmp_path)
    assert result.exit_code != 0 and "is not empty" in result.output


def test_generate_int8_says_where_it_computes(tmp_path):
    result = run("generate", "a cat", "--int8", "--engine", "mindspore", "--seed", 0, "-o", tmp_path / "cat.png")
    assert result.exit_code != 0 and "int8 computes on the OpenVINO engine" in result.output


@pytest.mark.heavy
def test_weights_in_4_bits_are_written_and_counted(tmp_path):
    folder = tmp_path / "int4"
    result = run("quantize", "--model", checkpoint("sd1"), "-o", folder, "--weights", "int4", "--group-size", 8)
    assert result.exit_code == 0, result.output
    assert "unet: " in result.output and " in 4 bits by groups of 8, " in result.output and " → " in result.output
    tensors = SafetensorsFile(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert any(name.endswith("weight_packed") for name in tensors)
    result = run("generate", "a red cat", "--model", folder, "--steps", 1, "--seed", 0, "-o", tmp_path / "cat.png")
    assert result.exit_code == 0, result.output
    result = run("convert", folder, "-o", tmp_path / "cat.safetensors")
    assert result.exit_code != 0 and "is quantised" in result.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--group-size", 2), "--group-size"),
        (("--group-size", 62), "a group of 62 divides the rows of no layer"),
        (("--int8-vae",), "--int8-vae"),
        (("--symmetric", "--weights", "int8"), "--symmetric"),
    ],
)
def test_options_that_contradict_rounded_weights(options, complaint, tmp_path):
    weights = () if "--weights" in options else ("--weights", "int4")
    result = run("quantize", "--model", checkpoint("sd1"), "-o", tmp_path / "out", *weights, *options)
    assert result.exit_code != 0 and complaint in result.output
    assert not (tmp_path / "out").exists()
