"""What every party reads from its folder."""

from __future__ import annotations

import pytest

from protocol.errors import ConfigurationError
from protocol.rpc.party import read_text


def test_text_in_another_encoding_is_refused_and_not_read_as_something_like_it(tmp_path):
    """A person's identifier with a character replaced would be nobody's, and the answer the same as for nobody."""
    file = tmp_path / "person.txt"
    file.write_bytes("X-Müller-0001".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"person\.txt: is not UTF-8"):
        read_text(file)
    file.write_text("X-Müller-0001\n", encoding="utf-8")
    assert read_text(file) == "X-Müller-0001\n"
