"""The page in a real browser: what one does on it with a mouse."""

import threading

import pytest

pytest.importorskip("uvicorn", reason="the [serve] extra is not installed")
pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

from playwright.sync_api import sync_playwright

from browser_page import CHROMIUM, generate, held, in_gallery, make_service, opened, picture, tickets
from live_server import listening, serving
from mindone.diffusers.server import Settings
from mindone.diffusers.server.service import Service
from tiny_pipelines import checkpoint

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in"),
]


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


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


def values(page, *names: str) -> list[str]:
    """What is in the form."""
    return [page.input_value(f"#{name}") for name in names]


def paint(page, *points: tuple[float, float]) -> None:
    """A stroke with the mouse, through points in parts of the picture's sides."""
    page.locator("#paint").scroll_into_view_if_needed()
    box = page.locator("#paint").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def test_a_click_generates_and_the_file_has_the_prompts_name_and_brings_its_settings_back(page, tmp_path):
    page.fill("#prompt", "A red cat, (big:1.2)!")
    page.fill("#steps", "3")
    assert "A red cat, (big:1.2)! · 3 steps" in generate(page)[0]
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "a.png")
    seed = download.value.suggested_filename.removeprefix("a-red-cat-big-1-2-").removesuffix(".png")
    for name in ("prompt", "steps", "seed"):
        page.fill(f"#{name}", "")
    page.set_input_files("#image", tmp_path / "a.png")
    page.click("#use")
    page.wait_for_selector("text=The settings are in the form.")
    found = values(page, "prompt", "steps", "seed", "width", "height")
    assert found == ["A red cat, (big:1.2)!", "3", seed, "64", "64"]


def test_previews_come_while_it_generates_and_stop_on_the_picture_stops_it(page, service, monkeypatch):
    goes_on = held(service, monkeypatch)
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "100")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#preview[data-step]")
    assert page.get_attribute("#preview", "data-step") != "last"
    assert page.inner_text("#left").startswith("step ") and "left" in page.inner_text("#left")
    outside = page.locator("#panes").bounding_box()
    stop = page.locator("#stop").bounding_box()
    assert outside["y"] < stop["y"] and stop["y"] + stop["height"] <= outside["y"] + outside["height"]
    page.click("#stop")
    page.wait_for_selector("text=Stopped.")
    goes_on.set()
    assert page.is_enabled("#generate") and page.locator("#gallery li").count() == 0


def test_empty_fields_show_the_models_own_values_and_sizes_are_presets_of_it(page):
    shown = [page.get_attribute(f"#{name}", "placeholder") for name in ("steps", "guidance_scale", "height")]
    assert shown == ["50", "7.5", "64"]
    page.select_option("#profile", "fine")
    assert page.get_attribute("#steps", "placeholder") == "4"
    page.select_option("#size", label="72×56, landscape 4:3")
    assert values(page, "width", "height") == ["72", "56"]
    page.click("#swap")
    assert values(page, "width", "height", "size") == ["56", "72", "56x72"]
    page.fill("#height", "64")
    assert values(page, "size") == ["custom"]


def test_sizes_samplers_and_the_negative_prompt_follow_the_model(page, service, monkeypatch):
    def answer(route):
        found = route.fetch()
        changed = found.json()
        own = {"multiple": 16, "width": 1024, "height": 1024, "schedulers": ["flow-euler"], "negative_prompts": False}
        changed["data"][0]["own"] |= own
        route.fulfill(response=found, json=changed)

    page.fill("#negative_prompt", "blurry")
    page.route("**/v1/models", answer)
    page.reload()
    page.wait_for_selector("text=Ready.")
    options = "select => [...select.options].map(({ text }) => text)"
    assert page.eval_on_selector("#scheduler", options) == ["the model's", "flow-euler"]
    sizes = page.eval_on_selector("#size", options)
    assert (
        sizes[:2] == ["1024×1024, its own", "768×1024, portrait 3:4"] and len(sizes) == 8
    )  # the server's most is 1024
    for size in sizes[:-1]:
        page.select_option("#size", label=size)
        assert page.eval_on_selector_all("#width, #height", "fields => fields.every((field) => field.checkValidity())")
    assert page.is_disabled("#negative_prompt")
    seen = tickets(service, monkeypatch)
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "2")
    page.fill("#width", "64")
    page.fill("#height", "64")
    generate(page)
    assert seen[0].job.negative_prompt is None


def test_a_loras_slider_and_an_enlargement_are_asked_for(page, service, monkeypatch):
    seen = tickets(service, monkeypatch)
    monkeypatch.setattr(service.backend, "draw", lambda place, ticket: 1 / 0)
    page.fill("#prompt", "a red cat")
    page.select_option("#lora", "style")
    page.fill("#chosen_loras input", "0.6")
    page.select_option("#upscale", "2")
    page.select_option("#upscale_with", "details")
    page.click("#generate")
    page.wait_for_selector("#failed:not(:empty)")
    job = seen[0].job
    assert (job.prompt, job.lora, job.upscale, job.strength) == ("a red cat", ("nowhere.safetensors:0.6",), 2, 0.4)


def test_two_speeds_generate_side_by_side_with_one_seed(page):
    page.fill("#prompt", "a red cat")
    page.select_option("#profile", "fast")
    page.select_option("#beside", "fine")
    assert page.inner_text("#profile option:checked").startswith("fast · 0.")
    fine, fast = generate(page, 2)
    assert "· fine · seed" in fine and fine.split(" · ")[2:4] == fast.split(" · ")[2:4]
    assert page.locator("#panes img:visible").count() == 2


def test_fast_profiles_generate_while_typing(page):
    assert page.is_disabled("#typing")
    page.select_option("#profile", "fast")
    page.check("#typing")
    page.locator("#prompt").press_sequentially("a red cat")
    page.wait_for_selector('#preview[data-step="last"]')
    assert page.locator("#gallery li").count() == 0


def test_what_is_painted_and_neither_erased_nor_undone_changes(page, service, monkeypatch):
    seen = tickets(service, monkeypatch)
    page.fill("#prompt", "a red cat")
    page.set_input_files("#image", picture())
    paint(page, (0.25, 0.25), (0.75, 0.25))
    paint(page, (0.25, 0.75), (0.75, 0.75))
    page.click("#undo")
    page.check("#erase")
    paint(page, (0.5, 0.1), (0.5, 0.4))
    page.fill("#steps", "4")
    generate(page)
    mask = seen[-1].open_pictures().mask
    changes = {at: mask.getpixel(at) == 255 for at in ((16, 16), (48, 16), (32, 16), (32, 48))}
    assert changes == {(16, 16): True, (48, 16): True, (32, 16): False, (32, 48): False}


def test_a_reload_loses_neither_form_nor_gallery_nor_what_was_painted(page, service, monkeypatch):
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "2")
    page.select_option("#profile", "fine")
    page.fill("#seed", "7")
    before = generate(page)
    page.select_option("#lora", "style")
    page.fill("#chosen_loras input", "0.6")
    page.set_input_files("#image", picture())
    paint(page, (0.25, 0.25), (0.75, 0.25))
    page.wait_for_selector("#undo:enabled")
    page.reload()
    page.wait_for_selector("text=Ready.")
    assert in_gallery(page, 1) == before and page.is_visible("#preview")
    assert values(page, "prompt", "profile", "seed", "width") == ["a red cat", "fine", "7", "64"]
    assert page.input_value("#chosen_loras input") == "0.6" and page.input_value("#image").endswith("green.png")
    page.wait_for_selector("#undo:enabled")
    page.click("#delete")
    page.reload()
    page.wait_for_selector("text=Ready.")
    assert page.locator("#gallery li").count() == 0


def test_each_picture_can_be_copied_used_enlarged_zoomed_deleted_and_brought_back(page, service, monkeypatch):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#prompt", "a red cat")
    page.fill("#seed", "7")
    page.fill("#steps", "2")
    generate(page)
    for what, text in (("prompt", "a red cat"), ("seed", "7")):
        page.click(f"#copy_{what}")
        page.wait_for_selector(f"text=The {what} is copied.")
        assert page.evaluate("navigator.clipboard.readText()") == text
    page.click("#dice")
    page.click("#last_seed")
    assert values(page, "seed") == ["7"]
    page.click("#zoom_in")
    page.click("#larger")
    sides = page.evaluate("(({ scrollHeight, clientHeight }) => [scrollHeight, clientHeight])(loupe)")
    assert sides[0] > 1.4 * sides[1]
    page.click("#close")
    seen = tickets(service, monkeypatch)
    page.click("#enlarge")
    in_gallery(page, 2)
    page.wait_for_selector("text=Done in")
    assert (seen[0].job.upscale, seen[0].job.seed) == (2, 7) and values(page, "upscale") == [""]
    page.click("#use_as_start")
    page.wait_for_selector("#paint:focus")
    page.click("#delete")
    in_gallery(page, 1)
    page.click("#undelete")
    in_gallery(page, 2)


def test_another_tab_shows_what_this_one_adds_and_deletes(page, address):
    other = page.context.new_page()
    other.goto(address)
    other.wait_for_selector("text=Ready.")
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "2")
    assert generate(page) == in_gallery(other, 1)
    page.click("#delete")
    other.wait_for_selector("#gallery li", state="detached")


def test_the_gallery_keeps_the_last_200_pictures(page):
    page.evaluate("""async () => {
        const { add } = await import("/page/gallery.js");
        const about = { size: "64x64", steps: 1, seconds: 1, hasSource: false, values: { prompt: "a cat", loras: [] } };
        for (let seed = 0; seed < 203; seed++) {
            await add({ ...about, seed, file: new File(["picture"], "a.png", { type: "image/png" }) }, 0);
        }
    }""")
    page.reload()
    page.wait_for_selector("text=Ready.")
    told = in_gallery(page, 200)
    assert "seed 202" in told[0] and "seed 3 " in told[-1]


def test_markup_in_a_prompt_is_text(page):
    prompt = "<img src=http://example.com/a.png onerror=document.title=1> <b>a red cat</b>"
    page.fill("#prompt", prompt)
    page.fill("#steps", "2")
    assert generate(page)[0].startswith(prompt) and page.inner_text("#about").startswith(prompt)
    assert page.locator("main b").count() == 0


def test_a_picture_stays_where_the_next_one_cannot_be_generated(page):
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "2")
    generate(page)
    page.fill("#prompt", "a cat AND a dog")
    page.click("#generate")
    page.wait_for_selector("#wrong_prompt")
    assert page.is_visible("#about") and page.inner_text("#about").startswith("a red cat")


def test_wrong_input_is_said_at_its_field(page):
    page.fill("#steps", "0")
    page.fill("#width", "60")
    page.click("#generate")
    wrong = page.eval_on_selector_all("[aria-invalid=true]", "fields => fields.map((field) => field.id)")
    assert wrong == ["prompt", "steps", "width"]
    told = page.eval_on_selector_all(".wrong", "lines => lines.map((line) => line.textContent.split(':')[0])")
    assert told == ["Prompt", "Steps", "Width"]
    assert page.evaluate("document.activeElement.id") == "prompt"
    page.fill("#steps", "2")
    page.fill("#width", "64")
    page.fill("#prompt", "a cat AND a dog")  # which only the server refuses
    assert page.locator(".wrong").count() == 0
    page.click("#generate")
    page.wait_for_selector("#wrong_prompt")
    assert "AND" in page.inner_text("#wrong_prompt")


def test_a_lora_that_cannot_be_loaded_is_named_at_the_choice_until_the_next_picture(page):
    page.fill("#prompt", "a red cat")
    page.fill("#steps", "2")
    page.select_option("#lora", "style")
    page.click("#generate")
    page.wait_for_selector("#wrong_lora:has-text('cannot load style')")
    page.click("#chosen_loras button")
    generate(page)
    assert page.locator(".wrong").count() == 0


def test_a_file_that_is_no_picture_or_too_large_is_noticed_when_it_is_chosen(page):
    large = {**picture(), "buffer": picture()["buffer"].ljust(17_000_000)}
    cut = {**picture(), "buffer": picture()["buffer"][:40]}
    text = {"name": "notes.txt", "mimeType": "image/png", "buffer": b"hello"}
    for file, said in ((text, "no PNG, JPEG or WebP"), (large, "17 MB"), (cut, "damaged"), (picture(4104), "4104")):
        page.set_input_files("#image", file)
        page.wait_for_selector(f"#wrong_image:has-text('{said}')")
        assert not page.is_visible("#painted") and page.input_value("#image") == ""


def test_a_server_that_is_gone_is_told_in_words(browser):
    service = Service(Settings(model=(str(checkpoint("sd1")),)))
    with serving(service) as (server, port), opened(browser, f"http://127.0.0.1:{port}/") as page:
        page.fill("#prompt", "a red cat")
        server.should_exit = True
        while service.is_ready:
            threading.Event().wait(0.01)
        page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
        page.click("#generate")
        page.wait_for_selector("#failed:has-text('The server does not answer.')")


def test_a_server_with_a_key_asks_for_it_and_keeps_what_was_in_the_form(browser, tmp_path):
    key = tmp_path / "keys.txt"
    key.write_text("0123456789abcdef\n")
    service = Service(Settings(model=(str(checkpoint("sd1")),), api_key=key))
    with listening(service) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.fill("#prompt", "a red cat")
        page.fill("#key", "0123456789abcdeF")
        page.press("#key", "Enter")
        page.wait_for_selector("#wrong_key:has-text('does not accept this key')")
        page.fill("#key", "0123456789abcdef")
        page.press("#key", "Tab")
        page.wait_for_selector("text=Ready.")
        page.reload()
        page.wait_for_selector("text=Ready.")
        assert values(page, "prompt", "model") == ["a red cat", "sd1"]
        page.close()


def test_the_list_of_the_api_shows_code_without_its_backticks(page, address):
    page.goto(f"{address}docs")
    page.wait_for_selector("#list section")
    listed = page.inner_text("#list")
    assert "stream" in listed and "`" not in listed
