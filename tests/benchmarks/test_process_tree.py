"""CPU time and end of processes that a benchmark starts."""

import os
import subprocess
import sys

import pytest

from benchmarks import process_tree
from benchmarks.exchange_custodes import REPOSITORY

BUSY = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"


@pytest.mark.parametrize("is_awaited", [False, True], ids=["still there", "ended and awaited"])
def test_cpu_time_of_a_child_counts_whether_it_was_awaited_or_not(is_awaited):
    before = process_tree.cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as child:
        child.stdout.read()  # Ends with the child, which is a zombie until it is awaited.
        if is_awaited:
            child.wait()
        assert process_tree.cpu_seconds() - before >= 0.19


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([*{command}, sys.executable, "-c", "import time; print('up', flush=True); time.sleep(1000)"])
time.sleep(1000)
"""


def test_process_that_is_bound_to_us_ends_when_we_are_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(command=list(process_tree.BOUND_TO_US))],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    ) as parent:
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        # The pipe ends when nobody holds it any more: neither the parent nor its child.
        assert parent.stdout.read() == b""


ADOPTING = """
import subprocess, sys, time
from benchmarks.process_tree import adopt_orphans, cpu_seconds, end_descendants
orphan = sys.argv[1] + "\\nprint('busy', flush=True)\\ntime.sleep(1000)"
leaves = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}])"
adopt_orphans()
with subprocess.Popen([sys.executable, "-c", leaves], stdout=subprocess.PIPE) as parent:
    parent.stdout.readline()
    parent.wait()
    assert cpu_seconds() - time.process_time() >= 0.19, "the orphan is not counted"
    end_descendants()
    assert parent.stdout.read() == b"", "the orphan lives"
"""


def test_orphan_is_counted_and_ended():
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", ADOPTING, BUSY]
    subprocess.run(command, check=True, timeout=60, cwd=REPOSITORY, env=environment)
