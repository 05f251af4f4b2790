"""The bench's page: self-contained, safe, and drawn by a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mindone.diffusers.bench import page, wording
from mindone.diffusers.bench.report import METHOD
from mindone.diffusers.utils import quality

PROMPT = 'a <b>"bold"</b> & red rocket'
STAGES = {"text_encoder": 0.2, "denoising": 3.0, "decode": 0.8}
ROW = {
    "name": "baseline",
    "library": "mindone.diffusers",
    "model": "nobody/<model>",
    "tiny_vae": None,
    "dtype": "float16",
    "steps": 25,
    "rival_of": None,
    "engine": "openvino, bf16",
    "status": "finished",
    "error": None,
    "latency": {"median": 4.0, "min": 3.9, "max": 4.2},
    "speedup": 1.0,
    "speedup_over_reference": None,
    "stages": STAGES,
    "calls": {"full": 26, "shallow": 0, "single": 0},
    "peak_memory": 3_210_000_000,
    "quality": None,
    "load_seconds": 2.0,
    "first_run": {"order": 1, "steps": 2, "seconds": 9.0, "stages": STAGES},
    "runs": [{"order": 4, "steps": 25, "seconds": 4.0, "stages": STAGES}],
    "notes": [],
}
DISTILLED = {
    **ROW,
    "name": "distilled",
    "latency": {"median": 2.5, "min": 2.5, "max": 2.5},
    "speedup": 1.6,
    "stages": {**STAGES, "denoising": 1.5},
    "quality": {"psnr": 17.34, "ssim": 0.7129, "max_difference": 201},
}
FAILED = {
    **ROW,
    "name": "distilled + tiny autoencoder",
    "status": "failed",
    "error": "its process was ended by SIGKILL; the machine most likely ran out of memory",
    "latency": None,
    "speedup": None,
    "stages": None,
    "peak_memory": None,
    "runs": [],
}
DATA = {
    "format": 1,
    "complete": False,
    "command": "mindone-diffusers bench --prompt '" + PROMPT + "'",
    "started": "2026-11-23T08:00:00+00:00",
    "seconds": 83.2,
    "machine": {"cpu": "A <fine> CPU", "cores": 2, "memory": 2**34, "system": "Linux", "load_average": [0.0, 0.0, 0.0]},
    "versions": {"mindone-diffusers": "0.1.0", "python": "3.11.7"},
    "method": METHOD,
    "notes": ["A note."],
    "tables": [
        {
            "title": "Table 2: Distilled models",
            "prompt": PROMPT,
            "scheduler": {"name": "pndm", "class": "PNDMScheduler"},
            "steps": 25,
            "guidance_scale": None,
            "num_images": 2,
            "repeats": 1,
            "height": 96,
            "width": 96,
            "seeds": [0, 1],
            "weights": "checkpoint",
            "rows": [ROW, DISTILLED, FAILED],
        }
    ],
}


def solid(*colours):
    return np.stack([np.full((96, 96, 3), colour, np.uint8) for colour in colours])


IMAGES = [{"baseline": solid((250, 0, 0), (0, 250, 0)), "distilled": solid((0, 0, 250), (250, 250, 0))}]


@pytest.fixture(scope="module")
def html():
    return page.render(DATA, IMAGES)


class Reader(HTMLParser):
    """Tags that are open, every attribute, and the text."""

    void = ("meta", "img", "rect", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.tags, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_well_formed_and_names_every_row(html):
    reader = Reader(html)
    assert not reader.open
    for words in ("baseline", "distilled", "4.00", "1.60×", "3.21 GB", "17.3 dB", "0.712", "25 PNDM steps", "2 cores"):
        assert words in reader.text, words
    assert "ran out of memory" in reader.text and "this report is partial" in reader.text


def test_the_page_needs_nothing_from_elsewhere(html):
    reader = Reader(html)
    sources = [value for name, value in reader.attributes if name in ("src", "href")]
    assert len(sources) == 4 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in html and "@import" not in html and "<script" not in html and "<link" not in html


def test_what_the_user_typed_is_text_and_not_markup(html):
    assert PROMPT in Reader(html).text and '<b>"bold"' not in html and "<fine>" not in html


def test_bars_are_as_long_as_their_stages(html):
    widths = [float(width) for width in re.findall(r'<rect class="\w+" x="[\d.]+" y="[\d.]+" width="([\d.]+)"', html)]
    assert len(widths) == 6
    assert widths[1] / widths[0] == pytest.approx(3.0 / 0.2, rel=0.01)
    assert sum(widths[:3]) / sum(widths[3:]) == pytest.approx(4.0 / 2.5, rel=0.01)


def test_rows_of_a_report_without_figures_are_still_a_page():
    nothing = {**DATA, "tables": [{**DATA["tables"][0], "rows": [FAILED]}]}
    assert "<svg" not in page.render(nothing, [{}])


def test_a_row_that_loses_to_its_rival_says_so():
    rival = {**DISTILLED, "name": "instead: baseline, 12 steps", "rival_of": "distilled", "steps": 12}
    closer = {**rival, "quality": {"psnr": 21.5, "ssim": 0.8, "max_difference": 90}}
    for other, loses in ((closer, True), (rival, False)):
        table = {**DATA["tables"][0], "rows": [ROW, DISTILLED, other]}
        said = "loses to its rival: 12 steps take as long and give 21.5 dB, this gives 17.3 dB"
        assert (wording.loses(DISTILLED, table) == said) is loses
        assert (said in page.render({**DATA, "tables": [table]}, IMAGES)) is loses


def test_calls_and_the_gain_over_the_reference_have_columns_where_they_tell_something(html):
    assert "network calls</span>" not in html and "over diffusers</th>" not in html
    cached = {**DISTILLED, "calls": {"full": 9, "shallow": 16, "single": 12}, "speedup_over_reference": 21.34}
    text = Reader(page.render({**DATA, "tables": [{**DATA["tables"][0], "rows": [ROW, cached]}]}, IMAGES)).text
    for words in ("network calls", "shallow", "unguided", "over diffusers", "21.34×"):
        assert words in text, words


@pytest.mark.heavy
def test_the_page_is_drawn_by_a_browser(html, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1400"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}"]
    subprocess.run([*command, (tmp_path / "report.html").as_uri()], check=True, capture_output=True, timeout=600)
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.size == (1000, 1400)
        colours = {colour: count for count, colour in shot.convert("RGB").getcolors(1 << 24)}
    for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)):
        assert colours.get(colour, 0) > 5000, colour  # the images, drawn from the page itself
    stages = [(0x8D, 0x7B, 0xD8), (0x2F, 0x6F, 0xDE), (0xE8, 0x96, 0x3A)]
    assert all(colours.get(colour, 0) > 200 for colour in stages)  # the bars


# ---- the figures beside the images -----------------------------------------------------------------------------------


def test_psnr_of_a_known_difference():
    images = solid((100, 100, 100))
    result = quality.compare(images + 10, images)
    assert result.psnr == pytest.approx(20 * np.log10(255 / 10)) and result.max_difference == 10
    assert 0.9 < result.ssim < 1


def test_identical_images_have_no_finite_psnr():
    assert quality.compare(IMAGES[0]["baseline"], IMAGES[0]["baseline"]) == quality.Quality(None, 1.0, 0)


def test_images_of_another_size_are_not_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        quality.compare(solid((1, 2, 3)), solid((1, 2, 3), (4, 5, 6)))
