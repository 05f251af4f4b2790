"""The page for everybody: with a keyboard alone, with a screen reader, on phones and on large screens."""

import pytest

pytest.importorskip("uvicorn", reason="the [serve] extra is not installed")
pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

from playwright.sync_api import sync_playwright

from browser_page import CHROMIUM, generate, held, in_gallery, make_service, opened, picture, tickets
from live_server import listening

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in"),
]

PHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True}
DEVICES = {"desktop": {}, "phone": PHONE, "small": {**PHONE, "viewport": {"width": 320, "height": 640}}}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return make_service(tmp_path_factory.mktemp("profiles"))


@pytest.fixture(scope="module")
def address(service):
    with listening(service) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page, target: str, key: str = "Tab") -> None:
    """Go on with Tab until something has the focus that is called or written so; at most once around the page."""
    for _ in range(80):
        page.keyboard.press(key)
        found = "const e = document.activeElement; return e.id === target || e.textContent.trim() === target;"
        if page.evaluate(f"(target) => {{ {found} }}", target):
            return
    raise AssertionError(f"Tab leads to no {target}")


def test_generate_stop_inpaint_and_gallery_need_a_keyboard_alone(browser, address, service, monkeypatch):
    with opened(browser, address) as page:
        page.focus("#prompt")  # as it is when the page has loaded
        page.keyboard.type("a red cat")
        tab_to(page, "steps")
        page.keyboard.type("100")
        goes_on = held(service, monkeypatch)
        press(page, "Control+Enter")
        page.wait_for_selector("#preview[data-step]")
        press(page, "Escape")
        page.wait_for_selector("text=Stopped.")
        goes_on.set()
        monkeypatch.undo()
        press(page, "Control+a")
        page.keyboard.type("4")
        tab_to(page, "generate")
        press(page, "Enter")
        in_gallery(page, 1)
        page.wait_for_selector("text=Done in")
        tab_to(page, "use_as_start")
        press(page, "Enter")
        page.wait_for_selector("#paint:focus")
        press(page, "Space", *["Shift+ArrowRight"] * 4, *["ArrowDown"] * 8, "Space", "Control+z")
        seen = tickets(service, monkeypatch)
        press(page, "Control+Enter")
        in_gallery(page, 2)
        page.wait_for_selector("text=Done in")
        mask = seen[0].open_pictures().mask
        changes = {at: mask.getpixel(at) == 255 for at in ((32, 32), (38, 32), (16, 32), (38, 48))}
        assert changes == {(32, 32): True, (38, 32): True, (16, 32): False, (38, 48): False}
        tab_to(page, "download")
        press(page, "Shift+Tab", "Enter", "ArrowRight", "+", "Escape")  # zoom, the older one, larger
        assert not page.is_visible("#zoom") and page.evaluate("document.activeElement.id") == "zoom_in"
        tab_to(page, "delete")
        press(page, "Tab", "Tab", "Enter")  # the older of the two pictures in the gallery
        assert page.get_attribute("#gallery li:last-child button", "aria-pressed") == "true"
        tab_to(page, "delete", "Shift+Tab")
        press(page, "Enter")
        in_gallery(page, 1)
        press(page, "Enter")  # where it is brought back
        in_gallery(page, 2)
        page.wait_for_selector("#gallery li:last-child button:focus")


@pytest.mark.parametrize("device", DEVICES)
def test_axe_finds_nothing_in_light_and_dark(browser, address, service, monkeypatch, device):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def check(what: str) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.Axe().run(page).response["violations"]
            assert [(what, scheme, each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []

    with opened(browser, address, bypass_csp=True, **DEVICES[device]) as page:
        check("empty")
        goes_on = held(service, monkeypatch)
        page.fill("#prompt", "a red cat")
        page.fill("#steps", "30")
        page.click("#generate")
        page.wait_for_selector("#preview[data-step]")
        check("busy")
        goes_on.set()
        in_gallery(page, 1)
        page.wait_for_selector("text=Done in")
        page.set_input_files("#image", picture())
        page.select_option("#lora", "style")
        page.wait_for_selector("#paint")
        check("gallery, inpainting and LoRA")
        page.fill("#steps", "0")
        page.click("#generate")
        check("wrong input")
        page.click("#zoom_in")
        check("zoom")
        page.goto(f"{address}docs")
        page.wait_for_selector("#list section")
        check("list of the API")


def test_it_fits_every_width_and_the_picture_is_above_or_beside_the_form(browser, address):
    with opened(browser, address) as page:
        for width in (320, 375, 768, 1024, 1440, 2560, 3840):
            page.set_viewport_size({"width": width, "height": max(600, width * 9 // 16)})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            panes, prompt, button = (
                page.locator(f"#{each}").bounding_box() for each in ("panes", "prompt", "generate")
            )
            for each in (panes, button):
                assert each["y"] + each["height"] <= page.viewport_size["height"], width
            is_beside = panes["x"] >= prompt["x"] + prompt["width"] and panes["y"] <= prompt["y"]
            assert is_beside or panes["y"] + panes["height"] <= prompt["y"], width


def test_fingers_hit_everything_on_a_phone(browser, address):
    with opened(browser, address, **PHONE) as page:
        page.fill("#prompt", "a red cat")
        page.fill("#steps", "2")
        generate(page)
        page.set_input_files("#image", picture())
        page.select_option("#lora", "style")
        page.wait_for_selector("#paint")
        sides = """[...document.querySelectorAll("button, a, select, textarea, .check, input:not([type=checkbox])")]
            .map((each) => [each.id || each.textContent, each.getBoundingClientRect()])
            .filter(([, box]) => box.width && Math.min(box.width, box.height) < 44).map(([name]) => name)"""
        assert page.evaluate(sides) == []


def test_a_phone_shows_the_picture_when_generate_is_pressed_far_below_it(browser, address):
    with opened(browser, address, reduced_motion="reduce", **PHONE) as page:
        page.fill("#prompt", "a red cat")
        page.fill("#steps", "2")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        generate(page)
        assert page.evaluate("document.getElementById('panes').getBoundingClientRect().top") >= -1


def test_everything_has_a_name(browser, address):
    with opened(browser, address) as page:
        inputs = "[...document.querySelectorAll('input, select, textarea, canvas')]"
        nameless = f"{inputs}.filter(each => !each.ariaLabel && !each.labels?.length).map(each => each.id)"
        assert page.evaluate(nameless) == []
