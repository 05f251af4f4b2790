"""DeepCache live against its authors' package, on tiny checkpoints and with the same noise."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from image_pipelines import difference, draw, load, reference
from mindone.diffusers import DDIMScheduler, DeepCacheConfig
from test_caches import recorded
from tiny_pipelines import checkpoint

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1], as that of uncached pipelines."""


def published(family):
    """The reference's pipeline with its authors' DeepCache on it, and the kinds of its calls as they are made."""
    package = pytest.importorskip("DeepCache")
    import diffusers

    pipe, calls = reference("DiffusionPipeline", checkpoint(family)), []
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)  # its steps are looked up by timestep
    pipe.unet.register_forward_pre_hook(lambda *_: calls.append("shallow"))
    # Cached blocks are still called; what lies inside of the deepest one is not.
    pipe.unet.mid_block.resnets[0].register_forward_hook(lambda *_: calls.__setitem__(-1, "deep"))
    return pipe, package.DeepCacheSDHelper(pipe=pipe), calls


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("branch", [0, 1, 3])
def test_deep_cache_draws_what_its_authors_package_draws(family, branch):
    theirs, helper, expected_calls = published(family)
    helper.set_params(cache_interval=3, cache_branch_id=branch)
    helper.enable()
    options = {"height": 32, "width": 32, "num_inference_steps": 7}
    expected = draw(theirs, **options)

    ours = load("DiffusionPipeline", checkpoint(family))
    ours.scheduler = DDIMScheduler.from_config(ours.scheduler.config)
    uncached = draw(ours, **options)
    calls = recorded(ours)
    ours.unet.enable_cache(DeepCacheConfig(cache_interval=3, cache_branch_id=branch))
    images = draw(ours, **options)
    assert [kind for kind, _ in calls] == expected_calls == ["deep", "shallow", "shallow"] * 2 + ["deep"]
    assert difference(images, expected) <= TOLERANCE
    assert difference(images, uncached) > 10 * TOLERANCE  # the cache is on


def test_the_quadratic_schedule_is_its_authors():
    found = importlib.util.find_spec("DeepCache") or pytest.skip("DeepCache is not installed")
    source = (Path(found.origin).parent / "sd" / "pipeline_stable_diffusion.py").read_text(encoding="utf-8")
    # The module itself goes with a diffusers of its time only.
    wanted = [x for x in ast.parse(source).body if isinstance(x, ast.FunctionDef) and x.name.endswith("quad_center")]
    names = {"np": np}
    exec(compile(ast.Module(wanted, []), "DeepCache", "exec"), names)
    for steps in (20, 25, 50):
        for interval in (2, 3, 5):
            for center in (5, 10, 15):
                try:
                    expected, _ = names["sample_from_quad_center"](steps, -(-steps // interval), center, pow=1.4)
                except ValueError:
                    continue
                config = DeepCacheConfig(interval, skip_mode="quadratic", center=center)
                assert config.whole_steps(steps) == sorted(int(i) for i in expected)
