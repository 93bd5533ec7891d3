"""Keys are named by URIs in settings: files today, tokens when they are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from oversight.settings import IssuerSettings
from protocol.errors import ConfigurationError, KeyCustodyUnsupported
from protocol.keys.uri import KeyUri

SETTINGS = """id = "issuer"
state = "state"
roster = "roster.json"
genesis = "{genesis}"
signing_key = {key}
tls_ca = "ca.pem"
tls_certificate = "tls.pem"
tls_key = "tls.key"
coordinator = "127.0.0.1:1"
"""


def settings(folder: Path, key: str) -> IssuerSettings:
    path = folder / "settings.toml"
    path.write_text(SETTINGS.format(genesis="0" * 64, key=key))
    return IssuerSettings.load(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:signing.key", "signing.key"),
        ("file:keys/signing.key", "keys/signing.key"),
        ("file:/run/keys/signing.key", "/run/keys/signing.key"),
        ("file:///run/keys/signing.key", "/run/keys/signing.key"),
    ],
)
def test_relative_files_are_relative_to_the_settings(tmp_path, text, expected):
    assert settings(tmp_path, f'"{text}"').signing_key.path() == tmp_path / expected


@pytest.mark.parametrize("key", ['"signing.key"', '"/run/signing.key"', '"file:"', '"vault:secret"', "7", '""'])
def test_name_without_a_known_custody_is_refused_and_the_field_named(tmp_path, key):
    with pytest.raises(ConfigurationError, match=r"field signing_key: .*file:PATH"):
        settings(tmp_path, key)


def test_token_is_a_name_that_settings_may_hold_and_this_version_does_not_open(tmp_path):
    loaded = settings(tmp_path, '"pkcs11:token=issuer;object=signing"')
    assert str(loaded.signing_key) == "pkcs11:token=issuer;object=signing"
    with pytest.raises(KeyCustodyUnsupported, match="pkcs11: keys are kept in files in this version"):
        loaded.open_signing_key()
    assert "file:PATH" in KeyCustodyUnsupported().remedy()


def test_parsing_is_idempotent():
    uri = KeyUri.parse("file:signing.key")
    assert KeyUri.parse(uri) is uri
