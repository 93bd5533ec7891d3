"""Where a passphrase comes from, and where it never does."""

from __future__ import annotations

import getpass
import io
import os
import sys

import click
import pytest

from deploy.cli import load
from protocol.errors import ConfigurationError
from protocol.keys.passphrase import new_passphrase, passphrase_source
from protocol.sealing.secret import Secret

PASSPHRASE = "a made-up passphrase of one party"


def descriptor(content: bytes) -> int:
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    return read


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch):
    """A person at the terminal, who types these lines; each prompt is kept."""
    lines: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: lines.pop(0))
    return lines


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\nanother line\n"], ids=repr)
def test_first_line_of_a_file_or_a_descriptor_is_the_passphrase(tmp_path, end):
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE.encode() + end)
    assert passphrase_source(file=path, descriptor=None)().reveal() == PASSPHRASE.encode()
    read = descriptor(PASSPHRASE.encode() + end)
    assert passphrase_source(file=None, descriptor=read)().reveal() == PASSPHRASE.encode()


def test_descriptor_is_read_once_however_many_keys_are_opened():
    source = passphrase_source(file=None, descriptor=descriptor(PASSPHRASE.encode()))
    assert source() == source() == Secret(PASSPHRASE.encode())


def test_person_at_a_terminal_types_a_new_passphrase_twice(typed):
    typed += [PASSPHRASE, PASSPHRASE]
    assert new_passphrase(file=None, descriptor=None) == Secret(PASSPHRASE.encode())
    typed += [PASSPHRASE, PASSPHRASE + "x"]
    with pytest.raises(ConfigurationError, match="differ"):
        new_passphrase(file=None, descriptor=None)
    typed += ["fourteen chars"]
    with pytest.raises(ConfigurationError, match="fewer than 15"):
        new_passphrase(file=None, descriptor=None)


def test_nothing_is_asked_where_nobody_sits(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSPHRASE))
    with pytest.raises(ConfigurationError, match="run at a terminal"):
        passphrase_source(file=None, descriptor=None)()


def test_places_that_hold_no_passphrase_are_named(tmp_path):
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n")
    with pytest.raises(ConfigurationError, match="empty holds no passphrase"):
        passphrase_source(file=empty, descriptor=None)()
    with pytest.raises(ConfigurationError, match="absent: No such file"):
        passphrase_source(file=tmp_path / "absent", descriptor=None)()
    with pytest.raises(ConfigurationError, match="one of the two"):
        passphrase_source(file=empty, descriptor=0)()
    with pytest.raises(ConfigurationError, match="passphrase_fd"):
        passphrase_source(file=None, descriptor=987654)()


def options(command: click.Command) -> list[str]:
    own = [name for parameter in command.params for name in parameter.opts]
    children = command.commands.values() if isinstance(command, click.Group) else ()
    return own + [name for child in children for name in options(child)]


@pytest.mark.parametrize("name", ["node", "coordinator", "unmasker", "witness", "custodian", "issuer", "roster"])
def test_no_command_takes_a_passphrase_or_a_key_as_an_argument(name):
    secret = {one for one in options(load(name)) if "passphrase" in one or "secret" in one or "seed" in one}
    assert secret <= {"--passphrase-file", "--passphrase-fd"}
    assert name == "roster" or secret
