"""The server: a page, OpenAI's images API and AUTOMATIC1111's API, in front of one fair queue.

    app = create_app(Settings(model=("icons",)))

It needs the ``[serve]`` extra; ``run`` is what ``mindone-diffusers serve`` does.
"""

from .settings import Settings

__all__ = ["Settings"]
