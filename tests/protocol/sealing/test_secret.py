import copy
import logging
import pickle

import pytest

from protocol.sealing.secret import Secret

CONTENT = b"not for the log, ever"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda secret: f"{secret!r}"])
def test_secret_prints_redacted_however_it_is_printed(show):
    assert show(Secret(CONTENT)) == "<redacted>"


def test_secret_is_redacted_inside_a_container_and_a_log_line(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("opened %s of %r", Secret(CONTENT), {"share": Secret(CONTENT)})
    assert CONTENT.decode() not in caplog.text
    assert caplog.text.count("<redacted>") == 2


def test_secret_is_revealed_only_by_name():
    assert Secret(CONTENT).reveal() == CONTENT
    with pytest.raises(TypeError):
        bytes(Secret(CONTENT))


def test_secrets_are_equal_when_their_content_is():
    assert Secret(CONTENT) == Secret(bytearray(CONTENT))
    assert Secret(CONTENT) != Secret(CONTENT + b"\x00")
    assert Secret(CONTENT) != Secret(b"")


def test_secret_equals_neither_plain_bytes_nor_another_kind_of_secret():
    class OtherSecret(Secret):
        pass

    assert Secret(CONTENT) != CONTENT
    assert Secret(CONTENT) != OtherSecret(CONTENT)


def test_secret_does_not_hash():
    with pytest.raises(TypeError):
        hash(Secret(CONTENT))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secret_does_not_pickle_or_copy(copied):
    with pytest.raises(TypeError, match="not picklable"):
        copied(Secret(CONTENT))


def test_secret_keeps_its_own_copy_of_a_mutable_buffer():
    buffer = bytearray(CONTENT)
    secret = Secret(buffer)
    buffer[0] ^= 1
    assert secret.reveal() == CONTENT


def test_length_of_a_secret_is_public():
    assert len(Secret(CONTENT)) == len(CONTENT)
