"""Ed25519 signatures, separated by domain: a signature given for one purpose means nothing for another.

Source: RFC 8032 (Ed25519), computed by the library `cryptography`.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Record, Registration, Signature

_FIELD = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""The y coordinate of a point of order 8 on edwards25519."""
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""The y coordinates of the eight points whose order divides 8: under such a key one signature fits many messages."""


class SigningKey:
    """A private key that shows nobody more than its public half; it can be neither printed nor pickled."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, data: bytes) -> SigningKey:
        """Read a key from unencrypted PKCS #8; raises ConfigError that says nothing of the content."""
        try:
            private = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError("this is not an Ed25519 private key in PEM form without a passphrase") from None
        return cls(private)

    def to_pem(self) -> bytes:
        """Return the secret as unencrypted PKCS #8, for a file that only its owner can read."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        """Sign bytes as they are; everything in Balance goes through `sign`, which adds the domain."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not pickled: load it from the key store where it is needed")


def _message(domain: str, payload: Record | bytes) -> bytes:
    """Return what is signed: purpose, type and content, each behind its length, so that no two are confused."""
    if isinstance(payload, Record):
        parts = (domain.encode(), f"record/{payload.kind}/{payload.schema_version}".encode(), payload.to_json())
    else:
        parts = (domain.encode(), b"bytes", payload)
    return b"balance/signature/1" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def sign(key: SigningKey, domain: str, payload: Record | bytes) -> str:
    """Return the signature over a record or bytes for one purpose, as 128 hex digits."""
    return key.sign(_message(domain, payload)).hex()


def verify(public: str, signature: str, domain: str, payload: Record | bytes) -> None:
    """Raise InvalidProof unless the key signed this payload for this purpose."""
    failure = InvalidProof(f"the {domain} signature is not by the key {public[:64]}")
    try:
        encoded = bytes.fromhex(public)
        y = int.from_bytes(encoded, "little") & (2**255 - 1)
        signed = bytes.fromhex(signature)
        # One spelling for each key and signature, so that nothing is altered without being another record.
        if y >= _FIELD or y in _SMALL_ORDER or encoded.hex() != public or signed.hex() != signature:
            raise failure
        Ed25519PublicKey.from_public_bytes(encoded).verify(signed, _message(domain, payload))
    except (ValueError, InvalidSignature):
        raise failure from None


class SignedRegistration(Record):
    """A registration with the signature of the provider that it names."""

    kind: ClassVar[str] = "signed-registration"
    domain: ClassVar[str] = "registration"
    registration: Registration
    signature: Signature

    @classmethod
    def sign(cls, registration: Registration, key: SigningKey) -> Self:
        """Sign as the provider; raises ConfigError if the key is not the one that the registration names."""
        if key.public != registration.provider:
            raise ConfigError(
                f"registration {registration.name!r} names the provider {registration.provider} and not {key.public}",
                hint="make the registration with the public half of the key that signs it",
            )
        return cls(registration=registration, signature=sign(key, cls.domain, registration))

    def check(self) -> Registration:
        """Return the registration if its provider signed it; raises InvalidProof."""
        verify(self.registration.provider, self.signature, self.domain, self.registration)
        return self.registration
