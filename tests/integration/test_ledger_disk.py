"""What a ledger's files hold when its process dies between two system calls, and when the disk lost the end of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from borough_node.ledger import Ledger
from protocol.errors import StorageError
from tests.integration.ledger_syscalls import CANNOT_TRACE, PLAN, POLICY, RELEASES, act

ROOT = Path(__file__).resolve().parents[2]
ROWS = RELEASES + 1
WAL_HEADER, FRAME_HEADER, PAGE = 32, 24, 4096


@dataclass(frozen=True)
class Kept:
    """A copy of the state at one moment, and what had left until then."""

    folder: Path
    call: str
    sent: tuple[str, ...]

    @property
    def wal(self) -> bytes:
        path = self.folder / "ledger.sqlite-wal"
        return path.read_bytes() if path.exists() else b""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Kept]]:
    """Every moment of one run, and every death in the checkpoint."""
    folder = tmp_path_factory.mktemp("syscalls")
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.ledger_syscalls", str(folder)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=False,
    )  # fmt: skip
    if done.returncode == CANNOT_TRACE:
        pytest.skip("this system does not let a process trace another")
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Kept]] = {"moments": [], "killed": []}
    for line in done.stdout.splitlines():
        one = json.loads(line)
        group = one["kept"].split("/")[0]
        found[group].append(Kept(folder / one["kept"], one["call"], tuple(one["sent"])))
    return found


def opened(folder: Path, *, of: Path) -> Ledger:
    """Open a copy of a state, so that the state can be looked at again."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(of, folder)
    return Ledger(folder / "ledger.sqlite")


def stored(ledger: Ledger) -> dict[str, tuple[str, str | None]]:
    """Return statement and vector of each answer by index."""
    found = {str(index): ledger.answer(PLAN, index) for index in range(RELEASES)}
    return {
        index: (answer.statement.hex(), None if answer.vector is None else answer.vector.hex())
        for index, answer in found.items()
        if answer is not None
    }


def require_sent(sent: tuple[str, ...], answers: dict[str, tuple[str, str | None]]) -> None:
    """Return if every answer that left is the stored one; its vector may be forgotten."""
    for line in sent:
        index, statement, vector = line.split()
        assert answers.get(index) in ((statement, vector), (statement, None))


def test_between_any_two_system_calls_the_files_hold_a_prefix_and_every_answer_that_left(tmp_path, kept):
    moments = kept["moments"]
    calls = {one.call for one in moments}
    assert {"pwrite64", "fdatasync", "ftruncate", "unlink"} <= calls
    whole = Ledger(moments[-1].folder / "ledger.sqlite")
    rows, statements = whole.entries(), {index: answer[0] for index, answer in stored(whole).items()}
    assert (len(rows), len(statements), whole.has_evidence()) == (ROWS, RELEASES, True)
    whole.close()
    lengths = []
    for one in moments:
        ledger = opened(tmp_path / "copy", of=one.folder)
        found, answers = ledger.entries(), stored(ledger)
        assert found == rows[: len(found)]
        assert all(statements[index] == answer[0] for index, answer in answers.items())
        require_sent(one.sent, answers)
        lengths.append((len(found), len(answers)))
        ledger.close()
    assert lengths == sorted(lengths)
    assert set(lengths) == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3)}


def test_killed_anywhere_in_forgetting_and_checkpointing_a_ledger_goes_on_as_if_nothing_was(tmp_path, kept):
    killed = kept["killed"]
    assert {"before pwrite64", "after pwrite64", "before ftruncate", "after ftruncate"} <= {one.call for one in killed}
    still_held = 0
    for one in killed:
        ledger = opened(tmp_path / "copy", of=one.folder)
        assert len(ledger.entries()) == ROWS
        answers = stored(ledger)
        assert len(answers) == RELEASES
        require_sent(one.sent, answers)
        held = [vector is not None for _, vector in answers.values()]
        assert len(set(held)) == 1, "some vectors of the plan were forgotten and others not"
        still_held += all(held)
        ledger.close()
        act(tmp_path / "copy" / "ledger.sqlite", lambda line: None, checkpointing=lambda begins: None)
        again = Ledger(tmp_path / "copy" / "ledger.sqlite")
        assert (len(again.entries()), again.flags(POLICY) is not None, again.has_evidence()) == (ROWS, True, True)
        assert stored(again) == {index: (statement, None) for index, (statement, _) in answers.items()}
        again.close()
        on_disk = b"".join(file.read_bytes() for file in (tmp_path / "copy").iterdir())
        assert not any(bytes.fromhex(line.split()[2])[:64] in on_disk for line in one.sent)
    assert 0 < still_held < len(killed)


def torn(wal: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a power cut may leave of a write-ahead log that nobody had synced."""
    frame = FRAME_HEADER + PAGE
    frames = (len(wal) - WAL_HEADER) // frame
    yield "lost", b""
    yield "zeroed", bytes(len(wal))
    yield "header cut", wal[:17]
    for number in sorted({0, 1, frames // 3, frames // 2, 2 * frames // 3, frames - 2, frames - 1}):
        start = WAL_HEADER + number * frame
        for offset in (0, 5, FRAME_HEADER, FRAME_HEADER + PAGE // 2):
            yield f"cut in frame {number} at {offset}", wal[: start + offset]
        yield f"zeroed from frame {number}", wal[:start] + bytes(len(wal) - start)
        sector = start + FRAME_HEADER + 512
        yield f"sector of frame {number} zeroed", wal[:sector] + bytes(512) + wal[sector + 512 :]
        for offset in (2, 9, 17, FRAME_HEADER + 100):
            flipped = bytearray(wal)
            flipped[start + offset] ^= 0x10
            yield f"bit {offset} of frame {number} flipped", bytes(flipped)


def test_a_torn_write_ahead_log_leaves_an_earlier_ledger_or_none_but_never_another_one(tmp_path, kept):
    moments = kept["moments"]
    whole = Ledger(moments[-1].folder / "ledger.sqlite")
    rows, statements = whole.entries(), {index: answer[0] for index, answer in stored(whole).items()}
    whole.close()
    with_wal = [one for one in moments if len(one.wal) > WAL_HEADER + 4 * (FRAME_HEADER + PAGE)]
    chosen = with_wal[:: max(1, len(with_wal) // 5)]
    shorter = 0
    for one in chosen:
        before = opened(tmp_path / "before", of=one.folder)
        length = len(before.entries())
        before.close()
        for damage, wal in torn(one.wal):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            shutil.copytree(one.folder, tmp_path / "copy")
            (tmp_path / "copy" / "ledger.sqlite-wal").write_bytes(wal)
            try:
                ledger = Ledger(tmp_path / "copy" / "ledger.sqlite")
            except StorageError:
                # A copy made within a checkpoint, which had synced the log that is damaged here before it began.
                continue
            found = ledger.entries()
            assert found == rows[: len(found)], damage
            assert len(found) <= length, damage
            assert all(statements[index] == answer[0] for index, answer in stored(ledger).items()), damage
            shorter += len(found) < length
            ledger.close()
    # The damage reached what was written: otherwise nothing was tried.
    assert shorter > 20
