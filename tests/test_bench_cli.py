"""``mindone-diffusers bench`` from the command line."""

import pytest
from click.testing import CliRunner

from mindone.diffusers import bench, cli


@pytest.fixture
def asked(monkeypatch):
    """What the command asks of the bench, which does not run."""
    requests = []

    class Done:
        interrupted = False
        failure = None

    def run(options, command):
        requests.append(options)
        return Done

    monkeypatch.setattr(bench, "run", run)
    return requests, Done


def command(*words, code=0):
    result = CliRunner().invoke(cli.main, ["bench", *words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_without_options_it_is_the_guide_s_protocol(asked):
    command()
    assert asked[0] == [bench.Options()]


def test_every_option_arrives(asked, tmp_path):
    words = (
        "--model a/b --distilled c/d --tiny-vae e/f --prompt x --steps 4 --scheduler euler --num-images 2 --repeats 1"
    )
    words += " --height 64 --width 72 --guidance-scale 2.5 --seed 3 --dtype bfloat16 --engine openvino --table 2"
    words += " --against diffusers --only distilled --only half"
    command(*words.split(), "-o", str(tmp_path))
    (options,) = asked[0]
    assert options == bench.Options(
        model="a/b",
        distilled="c/d",
        tiny_vae="e/f",
        prompt="x",
        steps=4,
        scheduler="euler",
        num_images=2,
        repeats=1,
        height=64,
        width=72,
        guidance_scale=2.5,
        seed=3,
        dtype="bfloat16",
        engine="openvino",
        table="2",
        against=("diffusers",),
        only=("distilled", "half"),
        output=tmp_path,
    )


def test_its_exit_code_tells_of_ctrl_c_and_of_failure(asked):
    asked[1].interrupted = True
    command(code=130)
    asked[1].interrupted, asked[1].failure = False, "no row could be measured"
    assert "Error: no row could be measured" in command(code=1)


def test_a_wrong_request_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert command("-o", str(tmp_path / "file"), code=1).count("\n") == 1
    assert "sd15" in command("--shape", "sd99", code=2)
    assert "'ddim'" in command("--scheduler", "best", code=2)
