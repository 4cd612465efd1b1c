import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grulight.trace import templates
from grulight.trace.templates import breakable
from parity.cases import RAGGED, Case
from parity.check import climb
from parity.distribution import equivalence
from parity.question import Network
from parity.report.json_file import as_json, write_json
from parity.report.report import write_page
from parity.result import EXIT_CODES, Result
from parity.sides.torch_side import TorchSide

HOSTILE = "<script>alert(1)</script>.ckpt"


class Twin(TorchSide):
    def floors(self, question: object, answer: dict) -> dict:
        return dict.fromkeys(answer, 1e-6)


@pytest.fixture
def result() -> Result:
    found = Result(HOSTILE, "0" * 64, "torch", "keras", {"torch": "2"}, [HOSTILE])
    climb(found, [Case(RAGGED, Network(2, 3, 4)).question()], TorchSide(), Twin())
    rng = np.random.default_rng(0)
    found.equivalences.append(equivalence("loss", rng.normal(size=20), rng.normal(size=20)))
    found.curves["float64"] = ([1.0, 0.5], [1.0, 0.5])
    return found


def test_page_is_one_escaped_file_with_every_part(result: Result, tmp_path: Path) -> None:
    write_page(result, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href)=|url\(|@import|https?://", page)
    assert page.count("<polyline") == 2 + 2
    assert page.count("<circle") == 40
    assert page.count('aria-label="Loss of every batch, float64. Line chart') == 1
    for axis in ("relative difference", "time step", "loss", "batch"):
        assert f">{axis}</text>" in page
    for heading in ("Rungs", "Wrong ports", "Training", "time step by time step", "Rung 6"):
        assert heading in page
    assert "gates not permuted" in page


def test_names_from_data_are_escaped_and_break_at_their_joints() -> None:
    assert breakable("<script>a_b</script>") == ("&lt;script&gt;a_<wbr>b&lt;/<wbr>script&gt;")


def test_json_holds_what_the_docstring_promises(result: Result, tmp_path: Path) -> None:
    write_json(result, tmp_path / "r.json")
    figures = json.loads((tmp_path / "r.json").read_text())
    for key in re.findall(r"``(\w+)``", as_json.__doc__ or ""):
        assert key in figures, key
    assert figures["verdict"] == "the same"
    keys = {"rung", "title", "dtype", "relative", "where", "noise_floor", "bound", "same"}
    assert all(keys <= entry.keys() for entry in figures["rungs"])


def test_one_missed_wrong_port_turns_the_same_into_could_not_tell(result: Result) -> None:
    assert result.verdict == "the same"
    result.controls[0] = replace(result.controls[0], factor=0.5)
    assert result.verdict == "could not tell"
    assert "gates not permuted" in result.reason
    assert EXIT_CODES[result.verdict] == 2


def test_no_controls_or_no_findings_prove_nothing(result: Result) -> None:
    assert replace(result, controls=[]).verdict == "could not tell"
    assert replace(result, findings=[]).verdict == "could not tell"


def test_a_nan_is_different_and_still_valid_json(result: Result, tmp_path: Path) -> None:
    finding = result.findings[3]
    spoilt = replace(finding.difference, relative=np.inf, absolute=np.inf)
    result.findings[3] = replace(finding, difference=spoilt)
    assert result.verdict == "different"
    write_json(result, tmp_path / "r.json")
    figures = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert None in [entry["relative"] for entry in figures["rungs"]]
    write_page(result, tmp_path / "r.html")


def test_page_has_the_style_sheet_of_the_trace(result: Result, tmp_path: Path) -> None:
    write_page(result, tmp_path / "r.html")
    shared = Path(templates.__file__).with_name("shared.css.j2").read_text().strip()
    assert shared in (tmp_path / "r.html").read_text()
