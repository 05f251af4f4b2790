"""The server's page in chromium, driven by playwright, against a live server: what the tests of the page share."""

import contextlib
import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mindone.diffusers.jobs.profile import Evidence, Profile, Settings as Speed
from mindone.diffusers.server import Settings
from mindone.diffusers.server.service import Service
from tiny_pipelines import checkpoint

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 600_000
"""Milliseconds for what takes well under a second where nothing else runs."""


def make_service(folder: Path) -> Service:
    """A tiny model with two profiles, a LoRA and a ControlNet."""
    model = str(checkpoint("sd1"))
    for name, steps in (("fast", 2), ("fine", 4)):
        evidence = Evidence(predicted_seconds=0.1 * steps, baseline_seconds=2, speed_up=2)
        speed = Speed(steps=steps, scheduler="euler")
        made = Profile(checkpoint=model, fingerprint="", height=64, width=64, settings=speed, evidence=evidence)
        made.save(folder / f"{name}.json")
    profiles = tuple(str(folder / f"{name}.json") for name in ("fast", "fine"))
    offers = {"profile": profiles, "controlnet": ("follow=nowhere",), "lora": ("style=nowhere.safetensors",)}
    return Service(Settings(model=(f"tiny={model}",), **offers))


@contextlib.contextmanager
def opened(browser, address: str, **options) -> Iterator[object]:
    """The page, ready to generate, for a browser that was never here; whatever goes wrong in it, or is asked of another
    server, fails the test."""
    context, wrong = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}), []
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda each: each.url.startswith((address, "blob:", "data:")) or wrong.append(each.url))
    page.goto(address)
    page.wait_for_selector("text=Ready.")
    page.fill("#width", "64")
    yield page
    context.close()
    assert wrong == []


def held(service: Service, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Whatever is generated waits at its first preview until the event is set."""
    goes_on, submit = threading.Event(), service.submit

    def hold(ticket):
        tell = ticket.listener

        def listener(event):
            tell(event)
            assert getattr(event, "preview", None) is None or goes_on.wait(WAIT / 1000)

        ticket.listener = listener
        submit(ticket)

    monkeypatch.setattr(service, "submit", hold)
    return goes_on


def tickets(service: Service, monkeypatch: pytest.MonkeyPatch) -> list:
    """Those that are submitted from now on."""
    seen, submit = [], service.submit
    monkeypatch.setattr(service, "submit", lambda ticket: (seen.append(ticket), submit(ticket)))
    return seen


def picture(side: int = 64) -> dict[str, object]:
    """A file to be chosen."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), "green").save(file, "PNG")
    return {"name": "green.png", "mimeType": "image/png", "buffer": file.getvalue()}


def in_gallery(page, count: int) -> list[str]:
    """What the gallery says of its pictures, the last one first, once it has that many."""
    page.wait_for_selector("#gallery:not(:has(li))" if not count else f"#gallery:has(> :nth-child({count}):last-child)")
    return page.eval_on_selector_all("#gallery img", "images => images.map((image) => image.alt)")


def generate(page, count: int = 1) -> list[str]:
    """Press the button, and wait until the gallery has that many pictures."""
    page.click("#generate")
    told = in_gallery(page, count)
    page.wait_for_selector("text=Done in")
    return told
