"""The server: a page, OpenAI's images API and AUTOMATIC1111's API, in front of one fair queue.

    app = create_app(Settings(model=("icons",)))

It needs the ``[serve]`` extra; `mindone-diffusers serve` calls ``run``.
"""

from .settings import Settings

__all__ = ["Settings"]
