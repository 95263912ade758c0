"""Models belong to their owners: nobody squats, front-runs or continues another's, and ids are the core's."""

from __future__ import annotations

import pytest
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core.records import Registration, SetupTrust, Trust

from .machine import Reverted
from .office import BUNDLE, NOTHING, Office, raw

OFFICE = Office()
DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)
MAYBE = st.none() | DIGEST.filter(lambda text: text != "0" * 64)
NAME = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")
VERSION = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=256
)
REGISTRATIONS = st.builds(
    Registration,
    name=NAME,
    version=st.integers(1, 2**53 - 1),
    backend=NAME,
    backend_version=VERSION,
    circuit_id=DIGEST,
    commitment_id=MAYBE,
    setup_trust=st.builds(SetupTrust, trust=st.sampled_from(Trust), parameters=MAYBE),
    provider=DIGEST,
    model_id=MAYBE,
    previous=MAYBE,
)


def refused(name, act, **arguments):
    with pytest.raises(Reverted) as found:
        act()
    assert found.value.name == name, found.value
    for key, value in arguments.items():
        assert found.value.arguments[key] == value


@settings(max_examples=200, deadline=None)
@given(REGISTRATIONS)
def test_registration_ids_are_the_cores(record):
    assert OFFICE.registry.get("registrationIdOf", OFFICE.fields(record)) == raw(record.registration_id)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("name", ""),
        ("name", "Mnist"),
        ("name", ".mnist"),
        ("name", "a" * 65),
        ("name", 'a","version":2'),
        ("name", "é"),
        ("backend", "x y"),
        ("backendVersion", ""),
        ("backendVersion", '1","circuit_id":"'),
        ("backendVersion", "1\\"),
        ("backendVersion", "1\n"),
        ("backendVersion", "é"),
        ("backendVersion", "1" * 257),
    ],
)
def test_texts_that_json_could_write_otherwise_are_refused(field, text):
    fields = OFFICE.fields(OFFICE.registration()) | {field: text}
    refused("BadText", lambda: OFFICE.registry.get("registrationIdOf", fields), text=text)


def test_the_same_record_by_somebody_else_is_another_model(office):
    record = office.registration()
    stolen = office.registry.send(office.address("bob"), "register", office.fields(record), office.terms("bob"))
    assert stolen[0].values["model"] == keccak(raw(office.key("bob")) + raw(record.registration_id))
    office.register(record)
    state = office.registry.get("modelState", office.model(record))
    assert (state["standing"], state["owner"]) == (2, office.address("alice").lower())


def test_nobody_registers_for_another(office):
    record = office.registration()
    refused(
        "NotOwner",
        lambda: office.registry.send(office.address("bob"), "register", office.fields(record), office.terms("alice")),
    )


def test_nobody_continues_anothers_line(office):
    record = office.registration()
    office.register(record)
    following = office.next_version(record)
    for terms in (office.terms("bob"), office.terms("alice")):
        refused(
            "UnknownModel",
            lambda terms=terms: office.registry.send(
                office.address("bob"), "register", office.fields(following), terms
            ),
        )


def test_a_proposal_does_not_occupy_what_its_addressee_does_himself(office):
    mine, theirs = office.registration("alice"), office.registration("bob", name="theirs")
    office.register(mine)
    office.register(theirs, "bob")
    forged = office.next_version(theirs, provider=office.key("alice"), name="mnist", previous=mine.registration_id)
    with pytest.raises(Reverted):
        office.register(forged, "bob")
    office.register(office.next_version(mine))


def test_a_handed_over_line_is_accepted_with_equal_terms_only(office, oracle):
    record = office.registration()
    office.register(record)
    offered = office.next_version(record, provider=office.key("bob"))
    terms = {"verifier": oracle, "verifyingKey": b"\7" * 32, "cid": BUNDLE}
    assert office.register(offered, **terms)[0].values["standing"] == 1
    for change in (
        {"verifier": office.registry.address},
        {"verifyingKey": b"\x08" * 32},
        {"cid": ""},
        {"validators": [office.address("bob")], "quorum": 1},
    ):
        refused("CommitmentMismatch", lambda change=change: office.register(offered, "bob", **{**terms, **change}))
    refused("AlreadyRecorded", lambda: office.register(offered, "alice", **terms), sequence=2)
    refused("NotOwner", lambda: office.register(offered, "carol", **terms))
    assert office.register(offered, "bob", **terms)[0].values["standing"] == 2
    assert office.registry.get("modelState", office.model(record))["standing"] == 3
    refused("UnknownModel", lambda: office.register(office.next_version(offered), "alice"))


def test_versions_follow_each_other_under_one_name(office):
    record = office.registration()
    office.register(record)
    refused("WrongName", lambda: office.register(office.next_version(record, name="other")))
    for version in (1, 3):
        refused("WrongVersion", lambda version=version: office.register(office.next_version(record, version=version)))
    refused("UnknownModel", lambda: office.register(office.next_version(record, previous="77" * 32)))
    office.register(office.next_version(record))
    refused("NotActive", lambda: office.register(office.next_version(record, circuit_id="c9" * 32)))


def test_a_line_is_not_handed_to_who_uses_its_name(office):
    mine = office.registration()
    offered = office.next_version(mine, provider=office.key("bob"))
    office.register(mine)
    office.register(offered)
    office.register(office.registration("bob"), "bob")
    refused("NameTaken", lambda: office.register(offered, "bob"))
    again = office.next_version(mine, provider=office.key("bob"), circuit_id="c9" * 32)
    refused("NameTaken", lambda: office.register(again))


def test_a_proposal_that_was_overtaken_is_void(office):
    mine = office.registration()
    office.register(mine)
    offers = [office.next_version(mine, provider=office.key(who)) for who in ("bob", "carol")]
    for offer in offers:
        office.register(offer)
    own = office.next_version(mine)
    office.register(own)
    for offer, who in zip(offers, ("bob", "carol"), strict=True):
        refused("NotActive", lambda offer=offer, who=who: office.register(offer, who))
    assert office.registry.get("newest", office.model(mine)) == office.model(own)


def test_a_rejected_proposal_is_void(office):
    mine = office.registration()
    office.register(mine)
    offered = office.next_version(mine, provider=office.key("bob"))
    office.register(offered)
    refused("NotOwner", lambda: office.registry.send(office.address("carol"), "revoke", office.model(offered), ""))
    office.registry.send(office.address("bob"), "revoke", office.model(offered), "")
    refused("RevokedForever", lambda: office.register(offered, "bob"))


def test_who_handed_a_line_on_has_no_say_in_it(office):
    mine = office.registration()
    offered = office.next_version(mine, provider=office.key("bob"))
    for who in ("alice", "alice", "bob"):
        office.register(mine if who == "alice" and not office.models else offered, who)
    for model in (office.model(mine), office.model(offered)):
        refused(
            "NotOwner",
            lambda model=model: office.registry.send(office.address("alice"), "revoke", model, ""),
        )
    office.registry.send(office.address("bob"), "revoke", office.model(mine), "")


def test_commitment_covers_every_term(office, oracle):
    record = raw(office.registration().registration_id)
    base = office.terms(
        verifier=oracle, verifyingKey=b"\7" * 32, cid=BUNDLE, validators=[office.address("bob")], quorum=1
    )
    changes = [
        {},
        {"owner": office.address("bob")},
        {"verifier": office.registry.address},
        {"verifyingKey": b"\x08" * 32},
        {"cid": BUNDLE[:-1] + "z"},
        {"validators": [office.address("carol")]},
        {"validators": [office.address("bob"), office.address("carol")]},
        {"quorum": 0},
    ]
    found = {office.registry.get("commitmentOf", record, base | change) for change in changes}
    assert len(found) == len(changes)
    assert office.registry.get("commitmentOf", b"\1" * 32, base) not in found


@pytest.mark.parametrize(
    ("terms", "name"),
    [
        ({"verifyingKey": b"\7" * 32}, "BadTerms"),
        ({"verifier": "0x" + "12" * 20}, "BadTerms"),
        ({"quorum": 1}, "BadTerms"),
        ({"validators": ["0x" + "12" * 20]}, "BadTerms"),
        ({"validators": ["0x" + "12" * 20] * 2, "quorum": 1}, "BadTerms"),
        ({"validators": ["0x" + "00" * 20], "quorum": 1}, "BadTerms"),
        ({"validators": ["0x" + "12" * 20], "quorum": 2}, "BadTerms"),
        ({"validators": [f"0x{n:040x}" for n in range(1, 66)], "quorum": 1}, "TooLarge"),
        ({"cid": "Qm" + "1" * 44}, "BadCid"),
        ({"cid": "b" + "a" * 9}, "BadCid"),
    ],
)
def test_terms_that_make_no_sense_are_refused(office, terms, name):
    refused(name, lambda: office.register(office.registration(), **terms))


def test_most_validators_fit_a_transaction(office):
    everybody = [f"0x{n:040x}" for n in range(1, 65)]
    office.register(office.registration(), validators=everybody, quorum=64)
    assert office.machine.gas_used < 3_000_000


def test_a_verifier_is_bound_once_and_by_the_owner(office, oracle):
    record = office.registration()
    office.register(record)
    model, before = office.model(record), office.registry.get("modelState", office.model(record))["commitment"]

    def bind(who="alice", verifier=oracle, cid=BUNDLE):
        return office.registry.send(office.address(who), "bindVerifier", model, verifier, b"\7" * 32, cid)

    refused("NotOwner", lambda: bind("bob"))
    refused("BadTerms", lambda: bind(verifier="0x" + "12" * 20))
    refused("BadCid", lambda: bind(cid=""))
    (told,) = bind()
    state = office.registry.get("modelState", model)
    packed = before + raw(oracle[2:].rjust(64, "0")) + b"\7" * 32 + keccak(text=BUNDLE)
    assert state["commitment"] == told.values["commitment"] == keccak(packed)
    refused("AlreadyBound", bind)
    office.registry.send(office.address("alice"), "revoke", model, "")
    refused("NotActive", bind)


def test_revocation_ends_a_line_and_its_reason_is_short(office):
    record = office.registration()
    office.register(record)
    model = office.model(record)
    refused("TooLarge", lambda: office.registry.send(office.address("alice"), "revoke", model, "x" * 1001))
    refused("NotOwner", lambda: office.registry.send(office.address("bob"), "revoke", model, ""))
    office.registry.send(office.address("alice"), "revoke", model, "x" * 1000)
    refused("RevokedForever", lambda: office.register(record))
    refused("NotActive", lambda: office.register(office.next_version(record)))
    refused("NameTaken", lambda: office.register(office.registration(circuit_id="c9" * 32)))
    refused("RevokedForever", lambda: office.registry.send(office.address("alice"), "revoke", model, ""))


def test_what_was_never_registered_is_unknown(office):
    for name, arguments in {
        "revoke": [NOTHING, ""],
        "submit": [NOTHING, dict.fromkeys(("context", "inputsDigest", "statementDigest"), NOTHING), BUNDLE, b""],
    }.items():
        refused(
            "UnknownModel",
            lambda name=name, arguments=arguments: office.registry.send(office.address("alice"), name, *arguments),
        )
    assert office.registry.get("modelState", NOTHING)["standing"] == 0
    assert office.registry.get("proofStatus", NOTHING, NOTHING) == 0


def test_a_key_is_told_and_not_believed(office):
    (told,) = office.registry.send(office.address("bob"), "bindKey", raw(office.key("alice")), b"signature")
    assert told.values["account"] == office.address("bob").lower()
    office.register(office.registration("alice"))
