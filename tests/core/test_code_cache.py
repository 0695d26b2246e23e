"""Where compiled code is kept, among threads and processes."""

import concurrent.futures
import os
from pathlib import Path

import pytest

from planmath.core import code_cache
from tests.processes import run_python


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(code_cache, "_made", {})


def test_it_is_made_once():
    name, made = code_cache.digest("test", 1), []

    def make() -> bytes:
        made.append(1)
        return b"content"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # of threads that ask at once, one makes it
        assert set(pool.map(lambda _: code_cache.get(name, make), range(8))) == {b"content"}
    assert len(made) == 1
    code_cache._made.clear()  # another process
    assert code_cache.get(name, make) == b"content"
    assert len(made) == 1
    file = code_cache.folder() / name
    file.write_bytes(file.read_bytes()[:-1])
    code_cache._made.clear()
    assert code_cache.load(name) is None, "it is damaged"
    assert code_cache.get(name, make) == b"content"
    assert len(made) == 2
    assert code_cache.load(name) == b"content"


def test_what_fails_is_made_again():
    with pytest.raises(ZeroDivisionError):
        code_cache.get("name", lambda: bytes(1 // 0))
    assert code_cache.get("name", lambda: b"content") == b"content"


def test_a_disk_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path / "file"))  # no folder, whoever asks
    made = [b"second", b"first"]
    assert code_cache.get("name", made.pop) == b"first"
    assert code_cache.get("name", made.pop) == b"first", "this process has it all the same"
    assert code_cache.load("name") is None
    assert code_cache.stored() == (0, 0)


def test_files_that_were_not_used_go_first(monkeypatch):
    monkeypatch.setenv("PLANMATH_CODE_CACHE_LIMIT", "500")
    for name in "abc":
        code_cache.store(name, name.encode() * 200)
        if name == "b":
            os.utime(code_cache.folder() / "a", (2e9, 2e9))
            os.utime(code_cache.folder() / "b", (1e9, 1e9))
    assert [code_cache.load(name) is not None for name in "abc"] == [True, False, True]
    assert code_cache.stored() == (2, 464)
    assert code_cache.clear() == 2
    assert code_cache.stored() == (0, 0)


def test_a_child_that_was_forked_while_a_thread_compiled(tmp_path):
    """The child makes what it needs itself: the thread that was making it is not there."""
    run_python("""
        import os, threading
        from planmath.core import code_cache
        began, end = threading.Event(), threading.Event()

        def slow():
            began.set()
            end.wait()
            return b"parent"

        thread = threading.Thread(target=code_cache.get, args=("name", slow))
        thread.start()
        began.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if code_cache.get("name", lambda: b"child") == b"child" else 1)
        done = os.waitpid(child, 0)[1]
        end.set()
        thread.join()
        assert done == 0
    """, timeout=30)
