"""Weighted and long prompts against transformers' text encoders and AUTOMATIC1111's arithmetic on them."""

import numpy as np
import pytest

from golden.make_pipelines import reference
from mindone.diffusers.prompts import encode_prompt
from tiny_pipelines import checkpoint, sharing

pytestmark = pytest.mark.oracle

PARTS = [
    *[("a red cat, ", 1.0), ("sitting", 1.3), (" on a mat, ", 1.0)] * 6,
    ("at night without a single comma for twenty tokens", 0.7),
    *[("ring ", 1.0), ("on", 1.21)] * 30,  # means that are far from 0, by which they are divided
]
PROMPT = "".join(text if weight == 1 else f"({text}:{weight})" for text, weight in PARTS)


def pieces(tokenizer):
    """Rows of (ids, weights), 77 each; a full one ends after the last comma among its last 20 tokens."""
    stream = [
        (number, weight) for text, weight in PARTS for number in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    comma, rows = tokenizer.get_vocab()[",</w>"], []
    while stream:
        end = min(75, len(stream))
        if len(stream) > 75 and stream[75][0] != comma:
            commas = [place for place in range(55, 75) if stream[place][0] == comma]
            end = commas[-1] + 1 if commas else 75
        taken, stream = stream[:end], stream[end:]
        ids = [tokenizer.bos_token_id, *(number for number, _ in taken), tokenizer.eos_token_id]
        weights = [1.0, *(weight for _, weight in taken)]
        ids, weights = ids + [tokenizer.pad_token_id] * (77 - len(ids)), weights + [1.0] * (77 - len(weights))
        rows.append((ids, weights))
    return rows


def embeddings(tokenizer, encoder, is_xl, clip_skip):
    """AUTOMATIC1111's embeddings (tokens, channels), and the first piece's pooled text."""
    import torch

    made, pooled = [], []
    for ids, weights in pieces(tokenizer):
        output = encoder(torch.tensor([ids]), output_hidden_states=True)
        z = output.hidden_states[-1 - clip_skip - is_xl]
        z = (
            z if is_xl else encoder.text_model.final_layer_norm(z)
        ).double()  # the mean of few rounds by 1e-5 in float32
        weighted = z * torch.tensor(weights)[None, :, None]
        made.append((weighted * (z.mean() / weighted.mean()))[0])
        pooled.append(output[0][0])
    return torch.cat(made).numpy(), pooled[0].numpy()


@pytest.mark.parametrize("clip_skip", [0, 1])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_embeddings_are_those_of_the_web_user_interface(family, clip_skip):
    import torch

    theirs, is_xl = reference(checkpoint(family)), family == "sdxl"
    towers = [(theirs.tokenizer, theirs.text_encoder)]
    towers += [(theirs.tokenizer_2, theirs.text_encoder_2)] if is_xl else []
    with torch.no_grad():
        expected = [embeddings(*tower, is_xl, clip_skip) for tower in towers]
    given = encode_prompt(sharing(family), PROMPT, clip_skip=clip_skip)
    whole = np.concatenate([each for each, _ in expected], axis=-1)
    assert whole.shape[0] >= 3 * 77
    np.testing.assert_allclose(given["prompt_embeds"][0], whole, atol=1e-5)
    if is_xl:
        np.testing.assert_allclose(given["pooled_prompt_embeds"][0], expected[-1][1], atol=1e-5)
