"""Larger images: generate a small one, enlarge its latents, and continue from there (--upscale 2)."""

from PIL import Image

from mindone.diffusers.jobs import Job, draw, load

plain = Job(prompt="a rocket on a blue background", seed=0, height=128, width=128)
pipe = load(plain)
[small] = draw(pipe, plain)
[large] = draw(pipe, plain.changed(upscale=2, strength=0.5))

sheet = Image.new("RGB", (large.width * 2, large.height))
sheet.paste(small.resize(large.size, Image.Resampling.BICUBIC), (0, 0))
sheet.paste(large, (large.width, 0))
sheet.save("upscale.png")
