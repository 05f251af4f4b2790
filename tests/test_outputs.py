"""Outputs are dictionaries, tuples and named fields at once."""

import copy
import pickle

import numpy as np
import pytest

from mindone.diffusers.pipelines.output import StableDiffusionPipelineOutput
from mindone.diffusers.schedulers import SchedulerOutput
from mindone.diffusers.utils import BaseOutput


def test_an_output_is_read_by_name_by_key_and_by_index():
    output = StableDiffusionPipelineOutput(images := ["a", "b"], [False, True])
    assert output.images is output["images"] is output[0] is images
    assert list(output) == list(output.keys()) == ["images", "nsfw_content_detected"]
    assert output.to_tuple() == tuple(output.values()) == output[:2] == (images, [False, True])
    assert dict(output) == {"images": images, "nsfw_content_detected": [False, True]}


def test_what_is_none_is_an_attribute_and_no_entry():
    output = StableDiffusionPipelineOutput(["a"])
    assert output.nsfw_content_detected is None
    assert len(output) == 1 and "nsfw_content_detected" not in output and output.to_tuple() == (["a"],)


def test_a_field_can_be_replaced_and_entries_cannot_be_added_or_removed():
    output = StableDiffusionPipelineOutput(["a"])
    output.images = ["b"]
    assert output["images"] == output[0] == ["b"]
    output["images"] = ["c"]
    assert output.images == ["c"]
    for change in (lambda: output.pop("images"), output.clear, lambda: output.update(images=[])):
        with pytest.raises(TypeError, match=r"are fixed; dict\(output\) makes a dictionary to change"):
            change()
    with pytest.raises(TypeError, match="has no field 'pictures'; it has images, nsfw_content_detected"):
        output["pictures"] = []


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda output: pickle.loads(pickle.dumps(output))])
def test_outputs_are_copied_and_pickled(duplicate):
    output = SchedulerOutput(np.ones((1, 4, 2, 2)))
    again = duplicate(output)
    assert type(again) is SchedulerOutput and isinstance(again, BaseOutput)
    np.testing.assert_array_equal(again.prev_sample, output.prev_sample)
    np.testing.assert_array_equal(again[0], output[0])
