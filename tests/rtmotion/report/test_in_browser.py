"""The pages in a real browser: no errors, no network, and the controls do what they say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtmotion.report import ReportData, write_forecast_report
from tests.rtmotion.report.browser import Page, browser_page, find_chromium

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")

DRAWN = "document.documentElement.dataset.viewer === 'ready' && document.documentElement.dataset.drawn"
PLOTTED = "document.documentElement.dataset.plots === 'ready'"
READ = """
window.READ = (selector) => {  // from a copy: Chromium warns of reading the canvas itself
  const shown = document.querySelector(selector), copy = document.createElement('canvas');
  [copy.width, copy.height] = [shown.width, shown.height];
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(shown, 0, 0);
  return context.getImageData(0, 0, copy.width, copy.height);
};
true
"""
PIXELS = """
(async () => {
  await draw();
  const data = READ('.panel[data-view="%s"][data-column="%s"] canvas').data;
  return data.reduce((hash, v) => (hash * 31 + v) | 0, 7);
})()
"""
GREY = """
(async () => {
  await draw();
  const image = READ('.panel[data-view="coronal"][data-column="prediction"] canvas');
  const at = (x, y) => image.data[4 * (Math.floor(y * image.height) * image.width + Math.floor(x * image.width))];
  return [at(%s), image.width / image.height];
})()
"""


def pixels(page: Page, view: str = "coronal", column: str = "prediction") -> int:
    return int(page.evaluate(PIXELS % (view, column)))


@pytest.fixture(scope="module")
def page(scored: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("report")
    file = write_forecast_report(folder, scored)
    assert CHROMIUM is not None
    with browser_page(CHROMIUM, folder / "profile") as opened:
        opened.open(file)
        opened.wait(DRAWN)
        opened.wait(PLOTTED)
        opened.evaluate(READ)
        yield opened


@pytest.fixture(autouse=True)
def _fresh(page: Page) -> Iterator[None]:
    """Every test begins with the first predicted phase and no overlay, and ends without an error."""
    page.evaluate("setPhase(3); setOverlay('none'); setWindow(...PRESETS.lung)")
    page.evaluate("state.arrows = byId('arrows').checked = false")
    page.evaluate("facts.views.forEach((v) => setSlice(v, v.start))")
    yield
    page.evaluate("0")
    assert page.errors == []


def test_it_asks_nothing_of_a_network(page: Page) -> None:
    assert {url.split(":")[0] for url in page.requests} <= {"file", "data", "blob"}
    assert sum(url.startswith("file:") for url in page.requests) == 1


def test_the_text_of_a_file_is_no_script(page: Page) -> None:
    assert page.evaluate("document.title").startswith("<script>alert")
    assert page.evaluate("document.querySelectorAll('main img, h1 script, li script').length") == 0


def test_the_slider_moves_the_image(page: Page) -> None:
    before = pixels(page, column="truth")
    page.evaluate("slider.value = 1; slider.dispatchEvent(new Event('input'))")
    assert pixels(page, column="truth") != before
    page.evaluate("slider.value = 3; slider.dispatchEvent(new Event('input'))")
    assert pixels(page, column="truth") == before


def test_arrow_keys_and_space_move_the_phase(page: Page) -> None:
    page.key("ArrowRight")
    assert page.evaluate("state.phase") == 4
    page.key("ArrowLeft")
    page.key("ArrowLeft")
    assert page.evaluate("facts.phases[state.phase].observed")
    page.key(" ")
    page.wait("state.phase !== 2")  # it plays
    page.key(" ")
    assert page.evaluate("state.playing") == 0


@pytest.mark.parametrize("view", ["coronal", "sagittal", "axial"])
def test_each_view_has_its_scrubber(page: Page, view: str) -> None:
    before = pixels(page, view)
    page.evaluate(
        f"(() => {{ const s = document.querySelector('.view[data-view={view}] input');"
        " s.value = 1; s.dispatchEvent(new Event('input')); })()"
    )
    assert pixels(page, view) != before


@pytest.mark.parametrize("overlay", ["displacement", "uncertainty"])
def test_overlays_show_on_the_prediction_alone(page: Page, overlay: str) -> None:
    plain, truth = pixels(page), pixels(page, column="truth")
    page.evaluate(f"document.querySelector('[data-group=overlay] [data-value={overlay}]').click()")
    assert pixels(page) != plain
    assert pixels(page, column="truth") == truth
    assert page.evaluate(f"!byId('legend-{overlay}').hidden")
    page.evaluate("setPhase(0)")
    observed = pixels(page)
    page.evaluate("setOverlay('none')")
    assert pixels(page) == observed  # an observed phase has no field


def test_arrows_window_and_difference(page: Page) -> None:
    before = pixels(page)
    page.evaluate("byId('arrows').click()")
    assert pixels(page) != before
    page.evaluate("byId('arrows').click(); setWindow(...PRESETS.bone)")
    assert pixels(page) != before
    difference = pixels(page, column="difference")
    page.evaluate("byId('range').value = '400'; byId('range').dispatchEvent(new Event('change'))")
    assert pixels(page, column="difference") != difference


def test_a_click_moves_the_other_views(page: Page) -> None:
    page.evaluate("scrollTo(0, 0); document.querySelector('.view').scrollIntoView({block: 'center'})")
    box = page.evaluate(
        "(() => { const b = document.querySelector('.panel[data-view=coronal] canvas').getBoundingClientRect();"
        " return [b.left, b.top, b.width, b.height]; })()"
    )
    page.click(box[0] + 0.75 * box[2], box[1] + 0.25 * box[3])
    sagittal, axial = (
        page.evaluate(f"shareOf(facts.views.find(v => v.name === '{n}'))") for n in ("sagittal", "axial")
    )
    assert sagittal == pytest.approx(0.75, abs=0.06)  # to the right of the screen: the patient's left
    assert axial == pytest.approx(0.75, abs=0.06)  # up on the screen: superior


def test_the_patient_stands_upright(page: Page) -> None:
    """Lung above, liver below; true proportions."""
    page.evaluate("setSlice(facts.views[0], Math.floor(facts.views[0].slices.length / 2)); state.cross = false")
    above, ratio = page.evaluate(GREY % "0.3, 0.3")
    below, _ = page.evaluate(GREY % "0.3, 0.85")
    assert above < 130 < below
    mm = page.evaluate("facts.views[0].mm[0] / facts.views[0].mm[1]")
    assert ratio == pytest.approx(mm, rel=0.02)


def test_the_plots_are_drawn(page: Page) -> None:
    assert page.evaluate("[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg.main-svg'))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_truth(bare: ReportData, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    with browser_page(CHROMIUM, tmp_path / "profile") as opened:
        opened.open(write_forecast_report(tmp_path, bare), width=1280)
        opened.wait(DRAWN)
        opened.evaluate(READ)
        first = pixels(opened)
        opened.evaluate("setPhase(0)")
        assert pixels(opened) != first
        assert opened.evaluate("document.querySelector('[data-group=overlay] [data-value=displacement]').disabled")
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert opened.errors == []
