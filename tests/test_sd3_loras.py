"""LoRAs of Stable Diffusion 3 in every layout, and those that are another model's."""

import numpy as np
import pytest

from checkpoints import TEXTS, UNETS, random_weights, shapes_of
from lora_cases import RANK, pair, stored
from mindone.diffusers import CLIPTextModelWithProjection, SD3Transformer2DModel, UNet2DConditionModel
from mindone.diffusers.adapters.lora_files import LoraFile
from mindone.diffusers.families.stable_diffusion.adapters import LORA as LORA_OF_UNETS
from mindone.diffusers.families.stable_diffusion_3.adapters import LORA
from mindone.diffusers.families.stable_diffusion_3.original import TRANSFORMER
from mindone.diffusers.loading.safetensors import StoredTensor
from network_cases import SD35

CLIP = {**TEXTS["projection"], "vocab_size": 521}


@pytest.fixture(scope="module")
def networks():
    """The shapes of the parameters of each."""
    texts = {name: shapes_of(CLIPTextModelWithProjection(**CLIP)) for name in ("text_encoder", "text_encoder_2")}
    return {"transformer": shapes_of(SD3Transformer2DModel(**SD35)), **texts}


def read(tensors, networks, names=LORA):
    return LoraFile(stored(tensors), names).layers(networks)


def of_original(networks, prefix, down, up, flat) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A LoRA of every matrix of the transformer in the original layout, and what it makes of random weights there."""
    plain = random_weights(networks["transformer"])
    file = TRANSFORMER.original({name: StoredTensor.from_numpy(x) for name, x in plain.items()})
    lora, merged = {}, {}
    for name in file:
        weight = file[name].numpy()
        merged[name] = weight
        if weight.ndim == 2 and name != "pos_embed":
            layer = name.removesuffix(".weight")
            first, second = pair(weight.shape, name)
            spelled = prefix + (layer.replace(".", "_") if flat else layer)
            lora |= {f"{spelled}.{down}.weight": first, f"{spelled}.{up}.weight": second}
            merged[name] = weight + second @ first
    ours = TRANSFORMER.ours({name: StoredTensor.from_numpy(x) for name, x in merged.items()})
    return lora, {name: tensor.numpy() for name, tensor in ours.items()}


@pytest.mark.parametrize(
    ("prefix", "down", "up", "flat"),
    [
        ("lora_unet_", "lora_down", "lora_up", True),
        ("diffusion_model.", "lora_A", "lora_B", False),
        ("transformer.", "lora_A", "lora_B", False),
    ],
)
def test_a_lora_in_the_original_layout_changes_what_it_changes_there(networks, prefix, down, up, flat):
    """Also where queries, keys and values are one layer there, and where scale and shift are the other way round."""
    lora, merged = of_original(networks, prefix, down, up, flat)
    plain = random_weights(networks["transformer"])
    changes = read(lora, networks)["transformer"]
    matrices = {name for name, x in plain.items() if x.ndim == 2}
    assert changes.keys() == matrices
    for name, change in changes.items():
        np.testing.assert_allclose(plain[name] + change.difference(plain[name], 1.0), merged[name], atol=1e-6)


@pytest.mark.parametrize(
    ("component", "layer", "prefix", "flat"),
    [
        ("transformer", "transformer_blocks.0.attn2.to_k", "transformer.", False),
        ("transformer", "transformer_blocks.2.norm1_context.linear", "", False),
        ("transformer", "transformer_blocks.1.attn.add_q_proj", "lora_transformer_", True),
        ("transformer", "transformer_blocks.1.attn.to_out.0", "lora_unet_", True),
        ("text_encoder", "text_model.encoder.layers.0.self_attn.q_proj", "lora_te1_", True),
        ("text_encoder_2", "text_model.encoder.layers.1.mlp.fc1", "lora_te2_", True),
        ("text_encoder_2", "text_model.encoder.layers.1.mlp.fc1", "text_encoder_2.", False),
        ("text_encoder", "text_model.encoder.layers.1.mlp.fc2", "clip_l.", False),
        ("text_encoder_2", "text_model.encoder.layers.1.mlp.fc2", "text_encoders.clip_g.transformer.", False),
    ],
)
def test_our_own_names_are_read_with_every_prefix(networks, component, layer, prefix, flat):
    down, up = pair(networks[component][f"{layer}.weight"], layer)
    spelled = prefix + (layer.replace(".", "_") if flat else layer)
    ((found, changes),) = read({f"{spelled}.lora_A.weight": down, f"{spelled}.lora_B.weight": up}, networks).items()
    assert found == component and list(changes) == [f"{layer}.weight"]
    (change,) = changes.values()
    assert change.rank == RANK and np.array_equal(change.up.numpy(), up) and np.array_equal(change.down.numpy(), down)


def test_alpha_magnitudes_and_whole_differences_are_taken_apart_as_well(networks):
    layer, shape = "lora_unet_joint_blocks_1_x_block_attn_qkv", (96, 32)
    down, up = pair(shape, layer)
    whole = {"diff_b": np.arange(96, dtype=np.float32), "alpha": np.array(6.0, np.float32)}
    tensors = {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
    changes = read({**tensors, **{f"{layer}.{part}": x for part, x in whole.items()}}, networks)["transformer"]
    key = "transformer_blocks.1.attn.to_k"
    assert changes[f"{key}.weight"].scale == 6.0 / RANK
    np.testing.assert_array_equal(changes[f"{key}.bias"].difference(np.zeros(32, np.float32), 1.0), np.arange(32, 64))
    dora = {f"{layer}.dora_scale": np.arange(1, 97, dtype=np.float32)[:, None]}
    (query, *_) = read({**tensors, **dora}, networks)["transformer"].values()
    assert query.magnitude.numpy().reshape(-1).tolist() == list(range(1, 33))


def test_a_kronecker_product_of_a_joined_layer_is_refused_in_one_line(networks):
    layer = "lora_unet_joint_blocks_1_x_block_attn_qkv"
    tensors = {f"{layer}.lokr_w1": np.ones((3, 2), np.float32), f"{layer}.lokr_w2": np.ones((32, 16), np.float32)}
    line = r"^lokr_w1 cannot be split for transformer_blocks\.1\.attn\.to_q; use a LoRA that names the layers as"
    with pytest.raises(ValueError, match=line):
        read(tensors, networks)


def one(layer: str, width: int) -> dict[str, np.ndarray]:
    return {f"{layer}.lora_A.weight": np.ones((2, width)), f"{layer}.lora_B.weight": np.ones((width, 2))}


@pytest.mark.parametrize(
    ("tensors", "guess"),
    [
        (one("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", 768), "Stable Diffusion 1.x"),
        (one("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 2048), "Stable Diffusion XL"),
        (one("transformer.single_transformer_blocks.0.attn.to_q", 3072), "FLUX.1"),
        (one("lora_te3_encoder_block_0_layer_0_SelfAttention_q", 64), None),
    ],
)
def test_a_lora_of_another_family_is_refused_in_one_line_that_names_it(networks, tensors, guess):
    with pytest.raises(ValueError, match=r"keys fit nothing here") as refused:
        read(tensors, networks)
    message = str(refused.value)
    assert "\n" not in message and message.endswith(f"they look like {guess}" if guess else ".weight'")


def test_a_lora_of_another_size_is_refused_in_one_line_that_names_it(networks):
    line = r"is a LoRA of another base, by its looks Stable Diffusion 3\.5 large: transformer_blocks\.0\.attn\.to_q\."
    with pytest.raises(ValueError, match=line):
        read(one("transformer.transformer_blocks.0.attn.to_q", 2432), networks)


@pytest.mark.parametrize(
    "layer", ["lora_unet_joint_blocks_0_x_block_attn_proj", "transformer.transformer_blocks.0.attn.to_q"]
)
def test_other_families_say_that_a_lora_is_this_ones(layer):
    unet = {"unet": shapes_of(UNet2DConditionModel(**UNETS["sd1"]))}
    with pytest.raises(ValueError, match=r"they look like Stable Diffusion 3"):
        read(one(layer, 1536), unet, LORA_OF_UNETS)
