"""Where compiled code is kept, among threads and processes."""

import pytest

from tests.processes import run_python

pytest.importorskip("numba", reason="Numba is not installed")


def test_a_child_that_was_forked_while_a_thread_compiled(tmp_path):
    """The child makes what it needs itself: the thread that was making it is not there."""
    run_python("""
        import os, sys, threading
        os.environ["PLANMATH_CACHE_DIR"] = sys.argv[1]
        from planmath.core.cuda.mathdx import store
        began, end = threading.Event(), threading.Event()

        def slow():
            began.set()
            end.wait()
            return b"parent"

        thread = threading.Thread(target=store.get, args=("name", slow))
        thread.start()
        began.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if store.get("name", lambda: b"child") == b"child" else 1)
        done = os.waitpid(child, 0)[1]
        end.set()
        thread.join()
        assert done == 0
        assert store.folder().parent == __import__("pathlib").Path(sys.argv[1])
    """, tmp_path, timeout=30)
