"""The pages in a real browser: what a reader can do, and that they need nothing else."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from grulight.data.waves import waves
from grulight.logits import probabilities
from grulight.trace.gates import walk
from grulight.trace.inference import ask
from grulight.trace.page import write_page
from grulight.trace.past_run import load_run
from grulight.training.classifier import GRUClassifier
from tests.test_trace import HOSTILE, classifier_for, parts_of, ragged

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser Chromium")


HINT_WIDTH = "box => parseFloat(getComputedStyle(box, '::before').width)"


@dataclass
class Reader:
    """A page on the screen, and what went wrong on it."""

    page: "sync_api.Page"
    complaints: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        # containers rarely allow Chromium's own sandbox; it only ever opens our files here
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def default_page(
    tmp_path_factory: pytest.TempPathFactory, run: Callable[..., str], last_checkpoint: Path
) -> Path:
    path = tmp_path_factory.mktemp("page") / "trace.html"
    run("trace", last_checkpoint, "-o", path)
    return path


@pytest.fixture
def read(browser: "sync_api.Browser") -> Iterator[Callable[..., Reader]]:
    """Open a page; afterwards nothing may have been complained of or asked of a network."""
    contexts, readers = [], []

    def open_page(
        path: Path, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> Reader:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        reader = Reader(context.new_page())
        reader.page.on("console", lambda message: reader.complaints.append(message.text))
        reader.page.on("pageerror", lambda error: reader.complaints.append(str(error)))
        reader.page.on("request", lambda request: reader.complaints.append(request.url))
        reader.page.goto(path.absolute().as_uri())
        assert reader.complaints.pop(0) == path.absolute().as_uri()
        contexts.append(context)
        readers.append(reader)
        return reader

    yield open_page
    for context in contexts:
        context.close()
    assert [reader.complaints for reader in readers] == [[] for _ in readers]


def test_arrow_keys_and_slider_step_through_the_epochs(
    read: Callable[..., Reader], default_page: Path, last_checkpoint: Path
) -> None:
    reader = read(default_page)
    losses = [f"{e.metrics['train_loss']:.4f}" for e in load_run(last_checkpoint).epochs]
    assert losses[4] in reader.text("#epoch-says")
    before = reader.page.locator(".cursor line").first.get_attribute("x1")
    reader.page.keyboard.press("ArrowLeft")
    assert losses[3] in reader.text("#epoch-says")
    assert losses[3] in reader.text("tr[aria-current]")
    reader.page.locator("#epoch").focus()
    reader.page.keyboard.press("Home")
    assert losses[0] in reader.text("#epoch-says")
    assert reader.page.locator(".cursor line").first.get_attribute("x1") != before
    assert reader.page.locator("tr[aria-current]").count() == 1


def pixel(reader: Reader, kind: str, step: int, row: int) -> list[int]:
    script = "([k, t, r]) => [...document.querySelector(`[data-map=${k}] canvas`)"
    script += ".getContext('2d').getImageData(t, r, 1, 1).data]"
    found: list[int] = reader.page.evaluate(script, [kind, step, row])
    return found


def test_another_sequence_shows_the_checkpoints_own_values(
    read: Callable[..., Reader], default_page: Path, last_checkpoint: Path
) -> None:
    reader = read(default_page)
    found = load_run(last_checkpoint)
    before = pixel(reader, "hidden", 9, 0)
    reader.page.locator("summary").click()
    for chip in (1, 4):  # the surest wrong one, and one of a class
        reader.page.locator("[name=sequence]").nth(chip).check()
        name = reader.text("#sequence-title").removeprefix("Test sequence ")
        position = int(np.flatnonzero(found.parts.test.ids == name)[0])
        seen = walk(found.classifier, found.parts.test, position, 99)
        reader.page.locator("#step").focus()
        for step, key in ((9, "End"), (8, "ArrowLeft"), (0, "Home")):
            reader.page.keyboard.press(key)
            shares = probabilities(torch.tensor(seen.logits[step : step + 1]))[0]
            bars = reader.page.locator("#bars tr")
            for c, share in enumerate(shares.tolist()):
                cells = bars.nth(c).locator("td").all_inner_texts()
                assert float(cells[1].replace("−", "-")) == pytest.approx(
                    seen.logits[step, c], abs=0.006
                )
                assert float(cells[2].split()[0]) == pytest.approx(100 * share, abs=0.06)
                width = bars.nth(c).locator("td:last-child i").get_attribute("style")
                assert float(width.split()[1].rstrip("%;")) == pytest.approx(100 * share, abs=0.01)
            cells = reader.page.locator("#values tr").nth(3).locator("td").all_inner_texts()
            shown = [float(cell.replace("−", "-")) for cell in (cells[1], *cells[3:])]
            layer = seen.layers["l0.forward"]
            theirs = [layer[kind][step, 3] for kind in ("reset", "update", "candidate", "hidden")]
            np.testing.assert_allclose(shown, [seen.values[step, 3], *theirs], atol=0.0012)
        hidden = seen.layers["l0.forward"]["hidden"]
        brightest, darkest = np.abs(hidden).argmin(), hidden.argmin()
        light = [pixel(reader, "hidden", *divmod(int(n), 16)) for n in (brightest, darkest)]
        assert sum(light[0]) > sum(light[1])  # zero is nearly white, -1 dark blue
    assert pixel(reader, "hidden", 9, 0) != before


def test_sequences_are_chosen_by_arrow_keys_and_steps_by_pointing(
    read: Callable[..., Reader], default_page: Path
) -> None:
    reader = read(default_page)
    first = reader.text("#sequence-title")
    reader.page.locator("[name=sequence]").first.focus()
    reader.page.keyboard.press("ArrowRight")
    assert reader.text("#sequence-title") != first
    canvas = reader.page.locator("[data-map=input] canvas")
    box = canvas.bounding_box()
    assert box
    canvas.click(position={"x": box["width"] * 0.25, "y": box["height"] * 0.5})
    assert reader.text("#step-says") == "step 3 of 10"
    assert "step 3, x2: " in reader.text("[data-map=input] .read")


def test_questions_are_answered_on_click(read: Callable[..., Reader], default_page: Path) -> None:
    reader = read(default_page)
    buttons = reader.page.locator(".question button")
    assert buttons.count() == 3
    for n in range(3):
        button = buttons.nth(n)
        answer = reader.page.locator(f"#{button.get_attribute('aria-controls')}")
        assert not answer.is_visible()
        button.focus()
        reader.page.keyboard.press("Enter")
        assert answer.is_visible()
        assert button.get_attribute("aria-expanded") == "true"
        assert len(answer.inner_text()) > 40
    buttons.first.click()
    assert buttons.first.get_attribute("aria-expanded") == "false"


def test_print_view_has_the_answers_and_none_of_the_buttons(
    read: Callable[..., Reader], default_page: Path
) -> None:
    reader = read(default_page, scheme="dark")
    reader.page.emulate_media(media="print")
    for n in range(3):
        assert reader.page.locator(".answer").nth(n).is_visible()
        assert not reader.page.locator(".question button").nth(n).is_visible()
    colour = "getComputedStyle(document.body).backgroundColor"
    assert reader.page.evaluate(colour) == "rgb(255, 255, 255)"
    assert len(reader.page.pdf()) > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_nothing_runs_over_the_edge(
    read: Callable[..., Reader], default_page: Path, width: int, height: int, scheme: str
) -> None:
    reader = read(default_page, width, height, scheme)
    assert reader.page.evaluate("document.documentElement.scrollWidth") == width
    unnamed = (
        "[...document.querySelectorAll('[role=img], canvas')].filter(e => !e.ariaLabel).length"
    )
    assert reader.page.evaluate(unnamed) == 0


@pytest.mark.parametrize(("width", "cut"), [(1280, 0), (390, 1)])
def test_tables_say_that_they_scroll_where_they_are_cut(
    read: Callable[..., Reader], default_page: Path, width: int, cut: int
) -> None:
    reader = read(default_page, width)
    reader.page.locator("summary").click()
    reader.page.wait_for_timeout(100)
    boxes = reader.page.locator(".scroll").all()
    wide = [box.evaluate("box => box.scrollWidth > box.clientWidth + 1") for box in boxes]
    shown = "box => getComputedStyle(box, '::before').content"
    said = ["scroll sideways" in box.evaluate(shown) for box in boxes]
    assert said == wide
    assert sum(wide) >= cut
    hint = [box.evaluate(HINT_WIDTH) for box, each in zip(boxes, wide, strict=True) if each]
    assert all(0 < part <= width for part in hint)


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_and_long_names_stay_text_and_within_the_page(
    read: Callable[..., Reader], tmp_path: Path, width: int
) -> None:
    part = ragged(2)
    names = (HOSTILE[0], HOSTILE[1] + "_long" * 30)
    object.__setattr__(part, "class_names", names)
    object.__setattr__(part, "feature_names", ('"><img src=x onerror=alert(1)>', *HOSTILE, "d"))
    write_page(tmp_path / "p.html", classifier_for(part), parts_of(part), name=HOSTILE[0])
    reader = read(tmp_path / "p.html", width)
    assert reader.page.evaluate("document.documentElement.scrollWidth") == width
    assert HOSTILE[0] in reader.text("#bars")
    assert reader.page.locator("img").count() == 0


def test_layers_and_directions_can_be_chosen(read: Callable[..., Reader], tmp_path: Path) -> None:
    part = waves(40)
    classifier = classifier_for(part, num_layers=2, bidirectional=True)
    write_page(tmp_path / "p.html", classifier, parts_of(part))
    reader = read(tmp_path / "p.html")
    options = reader.page.locator("#layer option").all_inner_texts()
    assert options[::3] == ["layer 1, forward", "layer 2, backward"]
    kept = reader.page.locator("[data-map=hidden] .kept")
    assert kept.get_attribute("style") == "left: 95%;"  # read forward, the last of ten steps
    before = pixel(reader, "hidden", 9, 0)
    reader.page.locator("#layer").select_option("layer 2, backward")
    assert kept.get_attribute("style") == "left: 5%;"
    assert pixel(reader, "hidden", 9, 0) != before
    reader.page.locator("#layer").select_option("layer 1, forward")
    assert kept.count() == 0


@pytest.fixture(scope="module")
def study_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a study with folds, a confusion matrix and hostile names."""
    pytest.importorskip("optuna", reason="needs the extra tune")
    from grulight.tuning.page import write_study_page
    from grulight.tuning.study import CONFUSION, FOLDS
    from grulight.tuning.workers import registered
    from tests.test_tune import study_in

    directory = tmp_path_factory.mktemp("study") / "<img src=x>"
    study = study_in(directory, trials=12)
    with registered(directory) as worker:
        while (trial := study.ask(worker)) is not None:
            value = abs(trial.params["a"] - 40) / 100
            trial.set_user_attr(FOLDS, [value - 0.01, value, value + 0.01])
            trial.set_user_attr(CONFUSION, [[20, 3], [1, 16]])
            study.finish(trial, None if trial.number == 3 else value)
    write_study_page(study, directory / "study.html", "val_loss", [HOSTILE[0], "other"])
    return directory / "study.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_a_study_can_be_read_on_any_screen(
    read: Callable[..., Reader], study_page: Path, width: int, height: int, scheme: str
) -> None:
    reader = read(study_page, width, height, scheme)
    assert reader.page.evaluate("document.documentElement.scrollWidth") == width
    assert reader.page.locator("img").count() == 0
    assert HOSTILE[0] in reader.text("table:has(.cell)")
    titles = " ".join(reader.page.locator("figcaption, h3").all_inner_texts())
    for shown in ("best so far", "folds", "val_loss by a", "val_loss by b", "at once", "held out"):
        assert shown in titles
    assert reader.page.locator(".parallel polyline").count() == 11  # one was stopped early
    paper = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    darkness = sum(int(part) for part in paper.removeprefix("rgb(").rstrip(")").split(","))
    assert (darkness < 200) == (scheme == "dark")
    drawn = "[...document.querySelectorAll('svg text')].map(e => getComputedStyle(e).fill)"
    assert paper not in reader.page.evaluate(drawn)


def test_a_study_can_be_read_by_keyboard(read: Callable[..., Reader], study_page: Path) -> None:
    reader = read(study_page, 390, 844)
    assert reader.page.locator("[role=img]:not([aria-label])").count() == 0
    focused = "document.activeElement.ariaLabel || document.activeElement.hash"
    reached, scrolled = [], 0
    for _ in range(40):
        reader.page.keyboard.press("Tab")
        here = reader.page.evaluate(focused)
        reached.append(here)
        if here == "All settings at once":
            reader.page.keyboard.press("ArrowRight")
            reader.page.wait_for_timeout(300)
            scrolled = reader.page.evaluate("document.activeElement.scrollLeft")
        if here == "Trials":
            break
    assert scrolled > 0
    assert {"#best", "#settings", "#trials", "The best settings"} <= set(reached)
    assert {"Confusion matrix", "All settings at once", "Trials"} <= set(reached)
    reader.page.locator("nav a").last.focus()
    reader.page.keyboard.press("Enter")
    assert reader.page.evaluate("location.hash") == "#trials"


def test_no_step_is_marked_where_each_is_answered_from(
    read: Callable[..., Reader], tmp_path: Path
) -> None:
    part = waves(40)
    part = replace(part, labels=np.cumsum(np.asarray(part.values)[..., :2], 1), class_names=())
    sizes = {"num_values": 2, "per_step": True, "num_layers": 2}
    classifier = GRUClassifier(part.values.shape[2], 0, **sizes).eval()
    write_page(tmp_path / "p.html", classifier, parts_of(part))
    reader = read(tmp_path / "p.html")
    assert reader.page.locator(".kept").count() == 0
    assert reader.text("[data-map=hidden] .along > span >> nth=0") == "time step"
    assert reader.text("[data-map=answers] small") == "at each step"
    assert "there is an answer for each" in reader.text("#prediction > p")
    answers = ask(classifier, parts_of(part))
    for step, key in ((10, "End"), (1, "Home")):
        reader.page.locator("#step").focus()
        reader.page.keyboard.press(key)
        ours, theirs = (
            np.array([float(text.replace("−", "-")) for text in found])
            for found in (
                reader.page.locator("#bars td:nth-child(2)").all_inner_texts(),
                reader.page.locator("#bars td:nth-child(3)").all_inner_texts(),
            )
        )
        off = (np.abs(ours - theirs) / answers.deviations).mean()
        says = reader.text("#sequence-says")
        [said] = re.findall(rf"At step {step} the answer is (.*) deviations off", says)
        assert float(said) == pytest.approx(off, rel=0.02)


def page_of(run: Callable[..., str], case: str) -> Path:
    heads = pytest.importorskip("tests.keras_files.test_keras_heads", reason="needs Keras")
    _, data = heads.saved(heads.CASES[case])
    run("port", "model.h5", "-o", "model.ckpt")
    run("trace", "model.ckpt", "--data", data[1])
    return Path("trace.html")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("case", "says", "width", "scheme"),
    [
        ("tags, padding masked by the model", "At step 1 it is called “", 390, "dark"),
        ("several labels", "of 4 labels are right.", 1280, "light"),
        ("value per step", "At step 1 the answer is ", 390, "light"),
        ("values at other steps", "At step 1 the answer is ", 1280, "dark"),
        ("forecast", "Had it ended at step 1, the answer is ", 390, "dark"),
        ("sentiment", "Of the whole sequence: it is called “", 390, "light"),
    ],
)
def test_every_kind_of_answer_can_be_stepped_through(
    read: Callable[..., Reader],
    run: Callable[..., str],
    case: str,
    says: str,
    width: int,
    scheme: str,
) -> None:
    reader = read(page_of(run, case), width, scheme=scheme)
    reader.page.locator("#step").focus()
    reader.page.keyboard.press("Home")
    assert says in reader.text("#sequence-says")
    assert reader.page.evaluate("document.documentElement.scrollWidth") == width
    choices, shown = reader.page.locator("[name=sequence]"), set()
    for number in range(choices.count()):
        choices.nth(number).check()
        shown.add(reader.text("#sequence-says") + reader.text("#bars"))
    assert len(shown) > 1
    assert reader.page.locator("svg.chart").count() >= ("value" in case or case == "forecast")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_an_id_is_chosen_by_clicking_it(
    read: Callable[..., Reader], run: Callable[..., str]
) -> None:
    reader = read(page_of(run, "tags, padding masked by the model"))
    reader.page.locator("#ids button").nth(1).click()
    assert "At step 2 " in reader.text("#sequence-says")
    assert reader.page.locator("#ids [aria-current]").count() == 1
