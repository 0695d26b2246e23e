"""What operations show: reports as text, as HTML and as pictures; the roofline; what `planmath tune` says."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.sparse as sp

import planmath
from planmath.core.errors import InvalidStateError
from planmath.core.tuning import limits, record
from planmath.core.tuning.clocks import HostClock
from planmath.core.tuning.limits import Limits, Work
from planmath.fft import FFT
from planmath.linalg.advanced import Matmul
from planmath.report.pages import Report, Table, page
from planmath.sparse.advanced import DirectSolver
from planmath.tensor import Contraction

pytestmark = pytest.mark.usefixtures("tuning_record")


class Balanced(HTMLParser):
    """Fails where elements are not closed in the order in which they were opened; gathers the text."""

    ALONE = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def square():
    return np.random.default_rng(0).normal(size=(64, 64))


def test_a_report_is_text_with_a_page():
    table = Table(["a", "b"], [["x<y", 1], ["z", 22]], [1.0, 22.0])
    report = Report(["title & more", table, "a note"])
    assert isinstance(report, str)
    assert report.splitlines() == ["title & more", "a     b", "---  --", "x<y   1", "z    22", "a note"]
    read = Balanced(report._repr_html_())
    assert "title & more" in read.text
    assert "x<y" in read.text
    assert report._repr_html_().count('class="bar"') == 2
    assert "title & more" in Balanced(page("t", [report._repr_html_()])).text


def test_a_column_is_cut_to_the_terminal(monkeypatch):
    table = Table(["problem", "time"], [["p" * 200, "1 s"], ["short", "2 s"]], shorten=0)
    assert max(map(len, str(table).splitlines())) > 200  # in a file, everything
    monkeypatch.setattr("planmath.report.pages._is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    lines = str(table).splitlines()
    assert max(map(len, lines)) == 80
    assert "…" in lines[2]
    assert "short" in lines[3]


@pytest.mark.parametrize("tuned", [False, True])
def test_operations_show_their_report(square, tuned):
    with Matmul(square, square) as product:
        assert "not planned" in Balanced(product._repr_html_()).text
        product.plan()
        if tuned:
            product.autotune(iterations=2, seconds=2)
        shown = product._repr_html_()
        assert "chosen by" in Balanced(shown).text
        assert ('class="bar"' in shown) is tuned
    assert "freed" in Balanced(product._repr_html_()).text


def test_pictures(square):
    pytest.importorskip("matplotlib")
    with Matmul(square, square) as product:
        product.plan()
        with pytest.raises(InvalidStateError, match="autotune"):
            product.report(plot=True)
        product.autotune(iterations=2, seconds=2)
        report = product.report(plot=True)
        assert len(report.figure.axes) == 2
        assert "<svg" in report._repr_html_()
        known = limits.record.path().with_name("limits.json")
        assert record.machine() in known.read_text()
    with FFT(square + 0j, axes=[1]) as transform:
        transform.plan()
        transform.autotune(iterations=2, seconds=2)
        assert transform._work().flops == 5 * 64 * 64 * 6
        assert len(transform.report(plot=True).figure.axes) == 2
    with Contraction("ij,jk,kl->il", square, square, square) as chain:
        chain.plan()
        report = chain.report(plot=True)
        texts = [text.get_text() for text in report.figure.axes[0].texts]
        assert sum("FLOPs" in text for text in texts) == 2
        assert {"ij", "jk", "kl"} < set(texts)


def test_without_matplotlib(square, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with FFT(square + 0j) as transform:
        transform.plan()
        transform.autotune(iterations=2, seconds=1)
        with pytest.raises(ImportError, match=r"pip install 'planmath\[plot\]'"):
            transform.report(plot=True)


def test_limits_are_measured_once(square, monkeypatch):
    monkeypatch.setitem(limits.EXTENT, "cpu", 64)
    monkeypatch.setitem(limits.BYTES, "cpu", 1 << 20)
    package = planmath.core.arrays.package_of(square, "a")
    work = Work(1e6, 1e3, "complex128")
    found = limits.limits(package, work, None, "some machine", HostClock())
    assert found.flops > 0 < found.bandwidth
    monkeypatch.setattr(limits, "_measure", None)
    assert limits.limits(package, work, None, "some machine", HostClock()) == found
    assert Limits(10.0, 2.0).of(Work(1.0, 1.0, "float64")) == 2
    assert Limits(10.0, 2.0).of(Work(100.0, 1.0, "float64")) == 10


def test_a_damaged_file_of_limits_is_replaced(square, monkeypatch):
    monkeypatch.setitem(limits.EXTENT, "cpu", 64)
    monkeypatch.setitem(limits.BYTES, "cpu", 1 << 20)
    file = record.path().with_name("limits.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[1, 2")
    package = planmath.core.arrays.package_of(square, "a")
    limits.limits(package, Work(1e6, 1e3, "float32"), None, "some machine", HostClock())
    assert "some machine" in file.read_text()


def test_solvers_show_what_they_found():
    a = sp.csr_array(sp.diags_array([-1.0, 3.0, -1.0], offsets=[-1, 0, 1], shape=(50, 50)))
    with DirectSolver(a, np.ones(50)) as solver:
        solver.plan()
        solver.factorize()
        solver.solve()
        assert "backward_error" in Balanced(solver.solution_info._repr_html_()).text
        assert type(solver.plan_info).__name__ in repr(solver.plan_info)
        Balanced(solver.factorization_info._repr_html_())


def test_the_picture_of_a_sparse_system():
    pytest.importorskip("matplotlib")
    a = sp.csr_array(sp.diags_array([-1.0, 3.0, -1.0], offsets=[-1, 0, 1], shape=(500, 500)))
    with DirectSolver(a, np.ones(500), options={"provider": "superlu"}) as solver:
        solver.plan()
        axes = solver.report(plot=True).figure.axes[0]
        assert axes.get_title().startswith(f"500 unknowns, {a.nnz} entries")
        shown = axes.images[0].get_array()
        assert np.nansum(shown.filled(np.nan)) == a.nnz
        solver.factorize()
        assert "in the factors" in solver.report(plot=True).figure.axes[0].get_title()


PROGRAM = """
import sys
import numpy as np
from nvmath.fft import FFT, fft
from nvmath.linalg.advanced import matmul
assert sys.argv[1:] == ["--size", "3"]
a = np.ones((16, 16))
with FFT(a + 0j) as transform:
    transform.plan()
    transform.execute()
for _ in range(2):
    fft(a + 0j)
    matmul(a, a)
"""


def test_tune_a_program(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def tune(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "planmath", "tune", *arguments], capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip

    first = tune("--seconds", "0.5", str(program), "--size", "3")
    assert first.returncode == 0, first.stderr
    rows = [line for line in first.stderr.splitlines() if line.startswith(("FFT ", "Matmul "))]
    assert len(rows) == 2, first.stderr  # one for each problem, however often it is planned
    assert all("x " in row for row in rows)
    assert "geometric mean" in first.stderr
    again = tune(str(program), "--size", "3")
    assert again.stderr.count("chosen by the tuning record") == 2
    assert "MatmulProblem" in tune("--show").stdout
    wrong = tune("--seconds", "0", str(program))
    assert wrong.returncode == 2
    assert "seconds is 0" in wrong.stderr


def test_info_as_a_page(tmp_path):
    file = tmp_path / "info.html"
    done = subprocess.run(
        [sys.executable, "-m", "planmath", "info", "--html", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = Balanced(file.read_text(encoding="utf-8")).text
    assert "pocketfft" in text
    assert "linalg.advanced" in text
