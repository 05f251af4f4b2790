"""Textual inversion: a new word. Its vector is not learned here but lies between those of two words."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")
table = pipe.text_encoder.array("text_model.embeddings.token_embedding.weight")


def vectors(text):
    """The text's own vectors, one per token."""
    return table[pipe.tokenizer.convert_tokens_to_ids(pipe.tokenizer.tokenize(text))]


between = (vectors("lion").mean(axis=0) + vectors("panda").mean(axis=0)) / 2
pipe.load_textual_inversion({"emb_params": between[None]}, token="<lion-panda>")

images = []
for word in ("lion", "<lion-panda>", "panda"):
    generator = np.random.Generator(np.random.PCG64(0))
    images += pipe(f"a {word}", generator=generator).images
make_image_grid(images, rows=1, cols=3).save("textual_inversion.png")
