"""Prompts with weights and of any length, read as in AUTOMATIC1111.

from mindone.diffusers.prompts import encode_prompt

pipe(**encode_prompt(pipe, "a (red:1.3) cat, [blurred] trees", negative_prompt="(worst quality:1.4)"))
"""

from .encoding import encode_prompt
from .syntax import Part, parse_prompt, plain_text

__all__ = ["Part", "encode_prompt", "parse_prompt", "plain_text"]
