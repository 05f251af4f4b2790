"""Single files of FLUX.1 against the reference's conversion rules: the same names, the same numbers."""

import numpy as np
import pytest

from mindone.diffusers.families.flux.original import TRANSFORMER
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor
from test_flux_single_file import file

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")

ROWS = {"linear1": 21_504}
"""The reference takes the published width for granted where it cuts these; the columns may be any."""


def test_a_transformer_is_read_as_the_reference_reads_it():
    random, tensors = np.random.default_rng(0), {}
    for name, tensor in SafetensorsFile(file()).items():
        rows = next((count for layer, count in ROWS.items() if f".{layer}." in name), None)
        shape = tensor.shape if rows is None else (rows, *tensor.shape[1:])
        tensors[name] = random.standard_normal(shape).astype(np.float32)
    ours = TRANSFORMER.ours({name: StoredTensor.from_numpy(x) for name, x in tensors.items()})
    theirs = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(
        {name: torch.from_numpy(x) for name, x in tensors.items()}
    )
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor.numpy(), theirs[name].numpy(), err_msg=name)
