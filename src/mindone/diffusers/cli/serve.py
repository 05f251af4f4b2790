"""``mindone-diffusers serve``: a page and an HTTP API."""

import click

from ..interrupts import exit_code
from ..server.listening import listen
from ..server.settings import Settings
from .options import options_of


@click.command()
@options_of(Settings)
def serve(**given: object) -> None:
    """Run a web page for generating images, OpenAI's images API and AUTOMATIC1111's API.

    Requests wait in one fair queue and run one after the other, with --ray on replicas in a cluster. They can use only
    the models and LoRAs from --model and --lora. SIGTERM finishes accepted requests and refuses new ones.

    \b
    Examples:
      mindone-diffusers serve
      mindone-diffusers serve --model stable-diffusion-v1-5/stable-diffusion-v1-5 --model icons
      mindone-diffusers serve --host 0.0.0.0 --api-key keys.txt
      mindone-diffusers serve --ray auto --replicas 4
    """
    from ..jobs.checks import check_names  # only now: it imports NumPy

    settings = Settings.from_texts(given)
    listen(settings).close()  # reports an address in use before anything is imported
    for option in ("model", "gguf", "lora", "controlnet"):
        check_names(option, *(text.partition("=")[2] or text for text in getattr(settings, option)))
    check_names("tiny_vae", settings.tiny_vae)
    from ..utils.extras import how_to_install

    try:
        from ..server.run import run
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "prometheus_client", "multipart", "python_multipart"):
            raise
        raise click.ClickException(f"{error.name} is missing: {how_to_install('serve')}") from None
    try:
        run(settings)
    except KeyboardInterrupt:  # the start has been logged by then
        raise click.exceptions.Exit(exit_code()) from None
