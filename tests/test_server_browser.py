"""The page in a real browser: chromium, driven by playwright, against a live server."""

import io
import shutil
import threading

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the [serve] extra is not installed")
pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

from playwright.sync_api import sync_playwright

from live_server import listening
from mindone.diffusers.jobs.profile import Evidence, Profile
from mindone.diffusers.jobs.profile import Settings as Speed
from mindone.diffusers.server import Settings
from mindone.diffusers.server.service import Service
from tiny_pipelines import checkpoint

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in")
WAIT = 600_000
"""Milliseconds for what takes well under a second where nothing else runs."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("profiles"), str(checkpoint("sd1"))
    for name, steps in (("fast", 2), ("fine", 4)):
        evidence = Evidence(predicted_seconds=0.1 * steps, baseline_seconds=2, speed_up=2)
        speed = Speed(steps=steps, scheduler="euler")
        made = Profile(checkpoint=model, fingerprint="", height=64, width=64, settings=speed, evidence=evidence)
        made.save(folder / f"{name}.json")
    profiles = tuple(str(folder / f"{name}.json") for name in ("fast", "fine"))
    return Service(Settings(model=(f"tiny={model}",), profile=profiles, controlnet=("follow=nowhere",)))


@pytest.fixture(scope="module")
def address(service):
    with listening(service) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(browser, address):
    """The page, ready to draw; whatever goes wrong in it, or is asked of another server, fails the test."""
    page, wrong = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda each: each.url.startswith((address, "blob:", "data:")) or wrong.append(each.url))
    page.goto(address)
    page.wait_for_selector("text=Ready.")
    page.fill("#width", "64")
    yield page
    page.close()
    assert wrong == []


def pictures(page, count: int) -> list[str]:
    """What the gallery says of its pictures, the last one first, once there are so many."""
    page.wait_for_selector(f"#gallery figure:nth-of-type({count})")
    return page.locator("#gallery figcaption").all_inner_texts()


def test_a_click_draws_and_the_picture_brings_its_parameters_back(page, tmp_path):
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "3")
    page.click("#draw")
    assert "a red cat · 3 steps" in pictures(page, 1)[0]
    with page.expect_download() as download:
        page.click("#gallery >> text=Save")
    download.value.save_as(tmp_path / "a.png")
    for name in ("prompt", "steps", "seed"):
        page.fill(f"#{name}", "")
    page.set_input_files("#image", tmp_path / "a.png")
    page.click("#use")
    page.wait_for_selector("text=The parameters are in the form.")
    seed = download.value.suggested_filename.removesuffix(".png")
    values = [page.input_value(f"#{name}") for name in ("prompt", "steps", "seed", "width", "height")]
    assert values == ["a red cat", "3", seed, "64", "64"]


def test_previews_come_while_it_draws_and_stop_stops_it(page, service, monkeypatch):
    goes_on, submit = threading.Event(), service.submit

    def held(ticket):
        tell = ticket.listener

        def listener(event):
            tell(event)
            assert getattr(event, "preview", None) is None or goes_on.wait(WAIT / 1000)

        ticket.listener = listener
        submit(ticket)

    monkeypatch.setattr(service, "submit", held)
    page.fill("#steps", "100")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#preview[data-step]")
    assert page.get_attribute("#preview", "data-step") != "last"
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Stopped.")
    goes_on.set()
    assert page.is_enabled("#draw") and page.locator("#gallery figure").count() == 0


def test_two_speeds_draw_side_by_side_with_one_seed(page):
    page.select_option("#profile", "fast")
    page.select_option("#beside", "fine")
    assert page.inner_text("#profile option:checked").startswith("fast · 0.")
    page.click("#draw")
    fine, fast = pictures(page, 2)
    assert "· fine · seed" in fine and fine.split("·")[2:] == fast.split("·")[2:]
    assert page.locator("#canvas img:visible").count() == 2


def test_fast_profiles_draw_while_typing(page):
    assert page.is_disabled("#typing")
    page.select_option("#profile", "fast")
    page.check("#typing")
    page.locator("#prompt").press_sequentially(", at night")
    page.wait_for_selector('#preview[data-step="last"]')
    assert page.locator("#gallery figure").count() == 0


def test_what_is_painted_is_drawn_anew_with_a_mouse_and_with_keys(page, service, monkeypatch):
    tickets, submit = [], service.submit
    monkeypatch.setattr(service, "submit", lambda ticket: (tickets.append(ticket), submit(ticket)))
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(file, "PNG")
    page.set_input_files("#image", {"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.fill("#steps", "4")
    box = page.locator("#paint").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"], steps=4)
    page.mouse.up()
    page.focus("#paint")
    for key in (*["ArrowDown"] * 16, "Space"):
        page.keyboard.press(key)
    page.click("#draw")
    assert pictures(page, 1)
    mask = tickets[-1].open_pictures().mask
    assert mask.size == (64, 64)
    painted = {at: mask.getpixel(at) == 255 for at in ((32, 16), (48, 48), (16, 48), (32, 60))}
    assert painted == {(32, 16): True, (48, 48): True, (16, 48): False, (32, 60): False}


def test_everything_has_a_name_and_fits_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.is_visible("#follow")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    inputs = "[...document.querySelectorAll('input, select, textarea, canvas')]"
    assert page.evaluate(f"{inputs}.filter(each => !each.ariaLabel && !each.labels?.length).map(each => each.id)") == []
