"""Where compiled code is kept, among threads and processes."""

import concurrent.futures
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from planmath.core import code_cache
from tests.processes import run_python


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(code_cache, "_pieces", code_cache.Pieces())


def test_it_is_made_once():
    name, made = code_cache.digest("test", 1), []

    def make() -> bytes:
        made.append(1)
        return b"content"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # of threads that ask at once, one makes it
        assert set(pool.map(lambda _: code_cache.get(name, make), range(8))) == {b"content"}
    assert len(made) == 1
    code_cache._pieces.clear()  # another process
    assert code_cache.get(name, make) == b"content"
    assert len(made) == 1
    file = code_cache.folder() / name
    file.write_bytes(file.read_bytes()[:-1])
    code_cache._pieces.clear()
    assert code_cache.load(name) is None, "it is damaged"
    assert code_cache.get(name, make) == b"content"
    assert len(made) == 2
    assert code_cache.load(name) == b"content"


def test_processes_that_write_and_remove_the_same_files(tmp_path: Path):
    program = """
import sys, time
from planmath.core import code_cache
content = {str(n): bytes([n]) * 1000 * (n + 1) for n in range(8)}
found, until = 0, time.monotonic() + 0.5
while time.monotonic() < until:
    for name, bytes_ in content.items():
        code_cache.store(name, bytes_)
        loaded = code_cache.load(name)
        assert loaded in (None, bytes_), (name, len(loaded))
        found += loaded is not None
print(found)
"""
    environment = os.environ | {"PLANMATH_CACHE_DIR": str(tmp_path), "PLANMATH_CODE_CACHE_LIMIT": "15000"}
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert all(found)
    assert code_cache.stored()[1] <= 15000
    assert not list(code_cache.folder().glob("*.new")), "what was begun is left"


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


def in_another_thread(monkeypatch):
    """Let work be done as where a person watches: in a thread that goes on when it is interrupted; the threads."""
    threads, goes_on = [], threading.Event()

    def interruptible(title, work):
        began = threading.Event()

        def run():
            began.set()
            with contextlib.suppress(BaseException):
                work()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        began.wait(20)
        if not goes_on.wait(0.2):
            raise KeyboardInterrupt
        threads[-1].join(20)
        return code_cache._pieces._made["name"]

    monkeypatch.setattr(code_cache.waiting, "interruptible", interruptible)
    return threads, goes_on


def test_an_interrupt_is_nobody_elses(monkeypatch):
    """What one thread was interrupted in goes on, and others wait for that: it is made once."""
    threads, goes_on = in_another_thread(monkeypatch)
    made = []

    def make() -> bytes:
        made.append(1)
        goes_on.wait(20)
        return b"content"

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            code_cache.get("name", make)
        other = pool.submit(code_cache.get, "name", make)
        assert not concurrent.futures.wait([other], 0.1).done
        goes_on.set()
        assert other.result(20) == b"content"
    assert (len(made), len(threads)) == (1, 1)
    assert not code_cache._pieces._making


def test_who_waits_for_what_was_interrupted_makes_it():
    began, interrupt = threading.Event(), threading.Event()

    def interrupted() -> bytes:
        began.set()
        interrupt.wait(20)
        raise KeyboardInterrupt

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(code_cache.get, "name", interrupted)
        began.wait(20)
        second = pool.submit(code_cache.get, "name", lambda: b"content")
        assert not concurrent.futures.wait([second], 0.1).done
        interrupt.set()
        assert second.result(20) == b"content"
        assert isinstance(first.exception(20), KeyboardInterrupt)
    assert not code_cache._pieces._making


def test_an_interrupt_before_the_work_begins(monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(code_cache, "load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            code_cache.get("name", lambda: b"content")
    assert code_cache.get("name", lambda: b"content") == b"content"


def test_a_limit_that_is_no_number(monkeypatch):
    monkeypatch.setenv("PLANMATH_CODE_CACHE_LIMIT", "1GB")
    with pytest.warns(RuntimeWarning, match="PLANMATH_CODE_CACHE_LIMIT must be a number of bytes, not '1GB'"):
        assert code_cache.get("name", lambda: b"content") == b"content"
    assert code_cache.load("name") == b"content"


def test_an_interrupt_of_a_file_in_its_place(monkeypatch):
    replace = os.replace

    def interrupted(*arguments):
        replace(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        code_cache.store("name", b"content")
    assert code_cache.load("name") == b"content"
