"""The local CA: certificates that name one identity, that TLS accepts, and that the roster can pin."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from deploy.certificates import BACKDATE, VALIDITY, ForceCA
from protocol.rpc.identity import Identity, identity_of, tls_key_digest

NOW = dt.datetime(2031, 3, 4, 12, 0, 0, tzinfo=dt.UTC)
IDENTITY = Identity("testforce", "borough", "borough-1")


@pytest.fixture(scope="module")
def ca():
    return ForceCA("testforce", now=NOW)


def issued(ca, identity=IDENTITY):
    certificate, key, digest = ca.issue(identity)
    return x509.load_pem_x509_certificate(certificate), key, digest


def test_certificate_names_force_role_and_id(ca):
    assert identity_of(issued(ca)[0]) == IDENTITY


def test_digest_is_that_of_the_certificates_key_and_fresh_each_time(ca):
    one, two = (issued(ca) for _ in range(2))
    assert one[2] == tls_key_digest(one[0])
    assert one[2] != two[2]


def test_certificate_chains_to_the_ca_for_its_hostname(ca):
    root = x509.load_pem_x509_certificate(ca.certificate)
    certificate = issued(ca)[0]
    verifier = PolicyBuilder().store(Store([root])).time(NOW)
    chain = verifier.build_server_verifier(x509.DNSName(IDENTITY.hostname)).verify(certificate, [])
    assert chain == [certificate, root]
    with pytest.raises(x509.verification.VerificationError):
        verifier.build_server_verifier(x509.DNSName("borough-2.borough.testforce.internal")).verify(certificate, [])


def test_certificate_of_another_ca_of_the_same_name_does_not_chain(ca):
    other = x509.load_pem_x509_certificate(ForceCA("testforce", now=NOW).certificate)
    with pytest.raises(InvalidSignature):
        issued(ca)[0].verify_directly_issued_by(other)


def test_issued_certificate_is_no_ca_and_serves_both_sides_of_tls(ca):
    extensions = issued(ca)[0].extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }


def test_ca_certificate_may_sign_certificates_and_nothing_below_them(ca):
    constraints = x509.load_pem_x509_certificate(ca.certificate).extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)


def test_validity_begins_a_little_earlier_than_the_clock(ca):
    certificate = issued(ca)[0]
    assert certificate.not_valid_before_utc == NOW - BACKDATE
    assert certificate.not_valid_after_utc == NOW + VALIDITY
