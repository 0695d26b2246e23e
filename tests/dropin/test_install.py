"""`install_as_nvmath`: what the alias means, and what it refuses. Each in a process of its own, for it lasts."""

import subprocess
import sys
from textwrap import dedent

import pytest


def python(code, cwd=None):
    return subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def printed(code, cwd=None):
    done = python(code, cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_are_the_same_objects():
    assert printed("""
        import sys
        import planmath
        planmath.install_as_nvmath()
        planmath.install_as_nvmath()
        import nvmath, nvmath.bindings.mkl, nvmath.fft, nvmath.linalg
        from nvmath.fft import FFT
        import planmath.bindings.mkl, planmath.linalg
        assert nvmath is planmath
        for name, module in list(sys.modules.items()):
            if name.startswith("nvmath"):
                assert module is sys.modules["planmath" + name[6:]], name
                assert module.__name__ == module.__spec__.name
        assert FFT is planmath.fft.FFT and nvmath.bindings.mkl is planmath.bindings.mkl
        assert len([f for f in sys.meta_path if "planmath" in type(f).__module__]) == 2
        print("done")
    """).endswith("done\n")


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("import nvmath.nothing", "nvmath.nothing"),
        ("from nvmath import nothing", "nvmath.nothing"),
        ("import nvmath.nothing.advanced", "nvmath.nothing"),
        ("from nvmath.nothing.advanced import Anything", "nvmath.nothing"),
        ("from nvmath.fft import nothing", "nvmath.fft.nothing"),
    ],
)
def test_what_planmath_lacks(statement, part):
    out = printed(f"""
        import planmath
        planmath.install_as_nvmath()
        try:
            {statement}
        except ModuleNotFoundError as error:
            print(error.name, error)
    """)
    assert out.startswith(part)
    assert f"does not have {part} yet" in out
    assert "nvmath.fft" in out


def test_stands_before_an_installed_nvmath(tmp_path):
    (tmp_path / "nvmath").mkdir()
    (tmp_path / "nvmath" / "__init__.py").write_text("other = True")
    program = "import planmath; planmath.install_as_nvmath(); import nvmath; print(nvmath.__name__)"
    assert printed(program, tmp_path) == "planmath\n"


def test_refuses_once_another_nvmath_is_imported(tmp_path):
    (tmp_path / "nvmath.py").write_text("other = True")
    done = python("import nvmath, planmath; planmath.install_as_nvmath()", tmp_path)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("RuntimeError: nvmath is already imported, from ")
    assert "nvmath.py" in message
    assert "before the first import" in message


def test_other_imports_are_untouched():
    out = printed("""
        import planmath
        planmath.install_as_nvmath()
        for name in ("nvmathematics", "nothing_at_all"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                print(error)
    """)
    assert out == "No module named 'nvmathematics'\nNo module named 'nothing_at_all'\n"
