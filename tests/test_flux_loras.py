"""LoRAs of FLUX.1 in every layout."""

import numpy as np
import pytest

from checkpoints import TEXTS, random_weights, shapes_of
from lora_cases import RANK, pair, stored
from mindone.diffusers import CLIPTextModel, FluxTransformer2DModel
from mindone.diffusers.adapters.lora_files import LoraFile
from mindone.diffusers.families.flux.adapters import LORA
from mindone.diffusers.families.flux.original import TRANSFORMER
from mindone.diffusers.loading.safetensors import StoredTensor
from tiny_flux import DEV


@pytest.fixture(scope="module")
def networks():
    """The shapes of the parameters of each."""
    text = shapes_of(CLIPTextModel(**{**TEXTS["clip"], "vocab_size": 521}))
    return {"transformer": shapes_of(FluxTransformer2DModel(**DEV)), "text_encoder": text}


def read(tensors, networks):
    return LoraFile(stored(tensors), LORA).layers(networks)


@pytest.mark.parametrize(
    ("prefix", "down", "up", "flat"),
    [
        ("lora_unet_", "lora_down", "lora_up", True),
        ("diffusion_model.", "lora_A", "lora_B", False),
        ("transformer.", "lora_A", "lora_B", False),
    ],
    ids=["kohya", "ComfyUI", "original names under diffusers' prefix"],
)
def test_a_lora_in_the_original_layout_changes_what_it_changes_there(networks, prefix, down, up, flat):
    """Of every matrix, also where several of ours are one, and where scale and shift are the other way round."""
    plain = random_weights(networks["transformer"])
    file = TRANSFORMER.original({name: StoredTensor.from_numpy(x) for name, x in plain.items()})
    lora, merged = {}, {}
    for name in file:
        weight = file[name].numpy()
        merged[name] = weight
        if weight.ndim == 2:
            layer = name.removesuffix(".weight")
            first, second = pair(weight.shape, name)
            spelled = prefix + (layer.replace(".", "_") if flat else layer)
            lora |= {f"{spelled}.{down}.weight": first, f"{spelled}.{up}.weight": second}
            merged[name] = weight + second @ first
    ours = TRANSFORMER.ours({name: StoredTensor.from_numpy(x) for name, x in merged.items()})
    changes = read(lora, networks)["transformer"]
    assert changes.keys() == {name for name, x in plain.items() if x.ndim == 2}
    for name, change in changes.items():
        expected = ours[name].numpy()
        np.testing.assert_allclose(plain[name] + change.difference(plain[name], 1.0), expected, atol=1e-6)


XLABS = {
    "double_blocks.1.processor.qkv_lora1": ("transformer_blocks.1.attn", ("to_q", "to_k", "to_v")),
    "double_blocks.1.processor.qkv_lora2": ("transformer_blocks.1.attn", ("add_q_proj", "add_k_proj", "add_v_proj")),
    "double_blocks.0.processor.proj_lora1": ("transformer_blocks.0.attn", ("to_out.0",)),
    "diffusion_model.double_blocks.0.processor.proj_lora2": ("transformer_blocks.0.attn", ("to_add_out",)),
    "single_blocks.2.processor.qkv_lora": ("single_transformer_blocks.2.attn", ("to_q", "to_k", "to_v")),
    "single_blocks.2.processor.proj_lora": ("single_transformer_blocks.2", ("proj_out",)),
}


@pytest.mark.parametrize("name", XLABS)
def test_a_lora_of_xlabs_changes_attention(networks, name):
    block, layers = XLABS[name]
    keys = [f"{block}.{layer}.weight" for layer in layers]
    rows, columns = networks["transformer"][keys[0]]
    down, up = pair((len(keys) * rows, columns), name)
    changes = read({f"{name}.down.weight": down, f"{name}.up.weight": up}, networks)["transformer"]
    assert list(changes) == keys
    for i, change in enumerate(changes.values()):
        plain = np.zeros((rows, columns), np.float32)
        np.testing.assert_allclose(change.difference(plain, 1.0), up[i * rows : (i + 1) * rows] @ down, atol=1e-6)


@pytest.mark.parametrize(
    ("component", "layer", "prefix", "flat"),
    [
        ("transformer", "transformer_blocks.0.attn.to_k", "transformer.", False),
        ("transformer", "single_transformer_blocks.2.proj_mlp", "", False),
        ("transformer", "transformer_blocks.1.attn.add_q_proj", "lora_transformer_", True),
        ("transformer", "transformer_blocks.1.attn.to_out.0", "lora_unet_", True),
        ("transformer", "time_text_embed.guidance_embedder.linear_1", "lora_transformer_", True),
        ("text_encoder", "text_model.encoder.layers.0.self_attn.q_proj", "lora_te1_", True),
        ("text_encoder", "text_model.encoder.layers.1.mlp.fc1", "text_encoder.", False),
        ("text_encoder", "text_model.encoder.layers.1.mlp.fc2", "clip_l.", False),
        ("text_encoder", "text_model.encoder.layers.1.mlp.fc2", "text_encoders.clip_l.transformer.", False),
    ],
)
def test_our_own_names_are_read_with_every_prefix(networks, component, layer, prefix, flat):
    down, up = pair(networks[component][f"{layer}.weight"], layer)
    spelled = prefix + (layer.replace(".", "_") if flat else layer)
    ((found, changes),) = read({f"{spelled}.lora_A.weight": down, f"{spelled}.lora_B.weight": up}, networks).items()
    assert found == component and list(changes) == [f"{layer}.weight"]
    (change,) = changes.values()
    assert change.rank == RANK and np.array_equal(change.up.numpy(), up) and np.array_equal(change.down.numpy(), down)


def test_a_lora_of_another_size_is_refused_in_one_line_that_names_it(networks):
    tensors = {
        "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": np.ones((2, 3072)),
        "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": np.ones((3072, 2)),
    }
    with pytest.raises(ValueError, match=r"is a LoRA of another base, by its looks FLUX\.1: single_transformer_bloc"):
        read(tensors, networks)


def test_a_lora_of_t5_is_refused_in_one_line(networks):
    tensors = {"lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": np.ones((2, 64))}
    with pytest.raises(ValueError, match=r"1 of 1 keys fit nothing here: 'lora_te3_encoder") as refused:
        read(tensors, networks)
    assert "\n" not in str(refused.value)
