"""A program that stops a ledger at every system call that changes a file, and keeps what a kill would leave there.

What a killed process leaves is what it has handed to the kernel: so a copy of the folder, made while the process is
stopped between two system calls, is that. One traced run gives a copy for every such moment. Inside the checkpoint of the
write-ahead log, which is one statement for SQL and many writes for the disk, the process is also killed in earnest.

    python -m tests.integration.ledger_syscalls FOLDER

writes FOLDER/moments/NNNN and FOLDER/killed/NNNN (copies of the state) and prints one JSON object a line for each. Exit
code 3: this system cannot trace (not Linux on x86-64, or not allowed).

Source: ptrace(2), PTRACE_GET_SYSCALL_INFO.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from borough_node.ledger import Answer, Ledger, StoredFlag

PLAN, POLICY, REQUEST = "1" * 64, "2" * 64, "a" * 64
RELEASES = 3
AT = "2031-03-04T12:00:00Z"
CANNOT_TRACE = 3

TRACEME, SYSCALL, KILL_WITH_TRACER, GET_INFO, SET_OPTIONS = 0, 24, 0x100000, 0x420E, 0x4200
MARK_SYSCALLS = 1
ENTRY, EXIT = 1, 2
INFO_BYTES, NUMBER_AT = 88, 24
CHANGING = {
    "write": 1, "pwrite64": 18, "writev": 20, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "rename": 82, "mkdir": 83,
    "unlink": 87, "chmod": 90, "fchmod": 91, "openat": 257, "unlinkat": 263, "fallocate": 285, "pwritev": 296,
}  # fmt: skip
"""Numbers on x86-64; ``openat`` may make a file."""

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def act(path: Path, send: Callable[[str], None], *, checkpointing: Callable[[bool], None]) -> None:
    """Use a ledger as a node does, from wherever it stands; every answer that leaves is sent."""
    ledger = Ledger(path)
    for index in range(RELEASES):
        ledger.charge(plan=PLAN, index=index, request=REQUEST, purpose="one", rho=0.25 * (index + 1), at=AT)
        drawn = Answer(REQUEST, os.urandom(400), os.urandom(6000))
        for answer in (ledger.store_answer(PLAN, index, drawn), ledger.answer(PLAN, index)):
            assert answer is not None
            if answer.vector is not None:
                send(f"{index} {answer.statement.hex()} {answer.vector.hex()}")
    ledger.secret("pseudonym/x", os.urandom(32))
    if ledger.flags(POLICY) is None:
        ledger.store_flags(POLICY, [StoredFlag("f" * 32, b"envelope", b"ciphertext", (b"share",), None)], at=AT)
    ledger.store_checkpoint(os.urandom(200))
    checkpointing(True)
    ledger.forget_vectors(PLAN)
    checkpointing(False)
    ledger.store_evidence(b"earlier", b"later")
    ledger.close()


@dataclass
class Stop:
    """A moment before or after a system call that changes a file."""

    pid: int
    call: str
    when: str
    in_checkpoint: bool
    sent: bytes
    """What had left until then."""


def traced(path: Path, on_stop: Callable[[Stop], None]) -> tuple[int, list[str]]:
    """Run ``act`` in a fork, stopping it at every changing system call; return what ended it and what it sent."""
    reading, writing = os.pipe()
    noting, noted = os.pipe()
    for end in (reading, noting):
        os.set_blocking(end, False)
    child = os.fork()
    if child == 0:
        try:
            if libc.ptrace(TRACEME, 0, None, None) != 0:
                os._exit(CANNOT_TRACE)
            os.kill(os.getpid(), signal.SIGSTOP)
            act(
                path,
                lambda line: os.write(writing, line.encode() + b"\n"),
                checkpointing=lambda begins: os.write(noted, b"1" if begins else b"0"),
            )
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    os.close(noted)
    names = {number: name for name, number in CHANGING.items()}
    info = ctypes.create_string_buffer(INFO_BYTES)
    sent, in_checkpoint, call = b"", False, ""
    _, status = os.waitpid(child, 0)
    if not os.WIFSTOPPED(status):
        raise SystemExit(CANNOT_TRACE)
    libc.ptrace(SET_OPTIONS, child, None, MARK_SYSCALLS | KILL_WITH_TRACER)
    while True:
        libc.ptrace(SYSCALL, child, None, None)
        _, status = os.waitpid(child, 0)
        sent += drained(reading)
        in_checkpoint = {b"1": True, b"0": False}.get(drained(noting)[-1:], in_checkpoint)
        if not os.WIFSTOPPED(status):
            break
        libc.ptrace(GET_INFO, child, INFO_BYTES, info)
        kind = info.raw[0]
        if kind == ENTRY:
            call = names.get(struct.unpack_from("Q", info.raw, NUMBER_AT)[0], "")
        if kind in (ENTRY, EXIT) and call:
            on_stop(Stop(child, call, "before" if kind == ENTRY else "after", in_checkpoint, sent))
    os.close(reading)
    os.close(noting)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(os.WEXITSTATUS(status))
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, sent.decode().splitlines()


def drained(pipe: int) -> bytes:
    """Return what stands in a pipe."""
    content = b""
    while True:
        try:
            more = os.read(pipe, 65536)
        except BlockingIOError:
            return content
        if not more:
            return content
        content += more


def main(root: Path) -> None:
    """Copy the state at every moment of one run; then kill other runs at every moment of their checkpoint."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise SystemExit(CANNOT_TRACE)
    state = root / "state"
    moments: list[Stop] = []

    def keep(stop: Stop) -> None:
        # After one call is before the next: nothing changes files in between.
        if stop.when == "after" and state.exists():
            shutil.copytree(state, root / "moments" / f"{len(moments):04d}")
            moments.append(stop)

    ended_by, _ = traced(state / "ledger.sqlite", keep)
    assert ended_by == 0
    for number, stop in enumerate(moments):
        print(json.dumps({"kept": f"moments/{number:04d}", "call": stop.call, "sent": stop.sent.decode().splitlines()}))

    kill_at, ended_by = 0, signal.SIGKILL
    while ended_by:
        passed = [0]
        where = [""]

        def kill(stop: Stop, passed: list[int] = passed, where: list[str] = where, kill_at: int = kill_at) -> None:
            if stop.in_checkpoint:
                if passed[0] == kill_at:
                    where[0] = f"{stop.when} {stop.call}"
                    os.kill(stop.pid, signal.SIGKILL)
                passed[0] += 1

        shutil.rmtree(state)
        ended_by, sent = traced(state / "ledger.sqlite", kill)
        if ended_by:
            kept = f"killed/{kill_at:04d}"
            shutil.copytree(state, root / kept)
            print(json.dumps({"kept": kept, "call": where[0], "sent": sent}))
        kill_at += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
