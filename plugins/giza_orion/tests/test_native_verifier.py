"""What the verifier accepts: nothing but proofs of the named program with the pinned parameters."""

from __future__ import annotations

import lzma
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from .native_layout import MAGIC, Layout, u64
from .native_programs import PRIME, Assembler, countdown, digest, encode, number, product

verifier = pytest.importorskip("balance_orion_verifier", reason="giza_orion: no native wheels", exc_type=ImportError)
prover = pytest.importorskip("balance_orion_prover", reason="giza_orion: no native wheels", exc_type=ImportError)

FORGERIES = Path(__file__).parent / "forgeries"
P31 = 2**31 - 1


def tape(*values):
    return np.asarray(values, "<i8").tobytes()


def make(code, *values, queries=70):
    return prover.prove(code.program, code.hints, tape(*values), queries=queries)["proof"]


@pytest.fixture(scope="session")
def proven():
    """A proof that 5 * 9 + 3 = 48, laid out."""
    return Layout(make(product(), 5, 9))


def refuse(proof, reason=r"\w", *, program=None, queries=70):
    with pytest.raises(ValueError, match=reason):
        verifier.verify(digest(program or product().program), proof, queries=queries)


def accept(proof, code, *, queries=70):
    return [number(word) for word in verifier.verify(digest(code.program), proof, queries=queries)]


def test_a_proof_tells_what_the_program_wrote(proven):
    assert accept(proven.proof, product()) == [48, 5]


def test_both_parameter_sets_are_offered_and_neither_passes_for_the_other(proven):
    strong = make(product(), 2**40, 5, queries=140)
    assert accept(strong, product(), queries=140) == [5 * 2**40 + 3, 2**40]
    refuse(proven.proof, "other security parameters", queries=140)
    refuse(strong, "other security parameters")
    for queries in (0, 1, 69, 71, 2**32 - 1):
        refuse(proven.proof, "not offered", queries=queries)


def test_another_program_has_another_hash(proven):
    refuse(proven.proof, "another program", program=product(constant=4).program)
    refuse(proven.proof, "another program", program=countdown(5).program)
    with pytest.raises(ValueError, match="32 bytes"):
        verifier.verify(b"short", proven.proof, queries=70)


def test_a_program_changed_in_the_proof_is_another_program(proven):
    other = product(constant=4)
    for word in range(len(other.words)):
        refuse(proven.bumped(f"program.{word}.word0"), "program")
        refuse(proven.bumped(f"program.{word}.word7"), "program|prime")
    # Even for its own hash, the changed program was not the one that ran.
    at = next(i for i, pair in enumerate(zip(product().words, other.words, strict=True)) if pair[0] != pair[1])
    refuse(proven.bumped(f"program.{at}.word0"), "not valid", program=other.program)


def five_cells(checked):
    """Output the first of five cells, given to the second builtin."""
    code = Assembler(("output", checked))
    code.hint(0, 5, 0)
    code.grow(5)
    for offset in range(5):
        code.load((1, offset), code.pointer(checked), offset)
    code.load((1, 0), code.pointer("output"), 0)
    code.finish({"output": 1, checked: 5})
    return code


def test_a_range_check_relabelled_as_bitwise_is_another_program():
    ranged, relabelled = five_cells("range_check"), five_cells("bitwise")
    assert ranged.words == relabelled.words
    x, y = 2**200 + 5, 3
    wide = b"".join(value.to_bytes(32, "little") for value in (x, y, x & y, x ^ y, x | y))
    with pytest.raises(ValueError, match="does not run"):
        prover.run(ranged.program, ranged.hints, wide)
    proof = prover.prove(relabelled.program, relabelled.hints, wide, queries=70)["proof"]
    assert accept(proof, relabelled) == [x]
    refuse(proof, "another program", program=ranged.program)
    layout = Layout(proof)
    bitwise = proof[layout.fields["segment.bitwise?"][0] :][: 1 + 16]
    moved = layout.spliced("segment.range_check_128?", bitwise)
    at = moved.index(bitwise, layout.fields["segment.range_check_128?"][0] + 17)
    refuse(moved[:at] + b"\0" + moved[at + 17 :], "used without its component", program=ranged.program)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("config.pow_bits", "other security parameters"),
        ("config.log_blowup", "other security parameters"),
        ("config.log_last_layer", "other security parameters"),
        ("config.queries", "other security parameters"),
        ("config.fold_step", "other security parameters"),
        ("config.lifting", "other security parameters"),
        ("commitment.0", "another root"),
        ("channel_salt", "salted"),
        ("initial.pc", "start and end"),
        ("final.pc", "start and end"),
        ("initial.ap", "behind the program"),
        ("initial.fp", "behind the program"),
        ("final.fp", "behind the program"),
        ("final.ap", "output words"),
        ("segment.output.start", "output words"),
        ("segment.output.stop", "more or fewer output words"),
        ("claim.range_check_builtin.start", "component and segment differ"),
        ("sum.memory_id_to_big.total.0", "sum of its parts"),
        ("fri.last.log_size", "not constant"),
    ],
)
def test_what_is_pinned_is_refused_by_name(proven, field, reason):
    refuse(proven.bumped(field), reason)


def test_a_weaker_configuration_inside_the_proof_is_refused(proven):
    for change in ({"config__queries": 1}, {"config__pow_bits": 0}, {"config__queries": 69, "config__pow_bits": 27}):
        refuse(proven.changed(**change), "other security parameters")
    refuse(proven.changed(variant=0), "another preprocessed trace")
    refuse(proven.changed(variant=1), "another preprocessed trace")
    lifting = proven.fields["config.lifting?"][0]
    refuse(proven.proof[:lifting] + b"\0" + proven.proof[lifting + 5 :], "other security parameters")


def test_every_field_counts(proven):
    """Each length, tag and scalar; of long lists, the first and the last elements."""
    seen, last = [], None
    for name in proven.fields:
        stem = name.rstrip("0123456789.")
        if stem != last or not any(digit in name for digit in "3456789"):
            seen.append(name)
        last = stem
    names = [name for name in seen if not name.startswith(("sample.", "value."))]
    names += random.Random(6).sample(sorted(set(proven.fields) - set(names)), 400)
    assert len(names) > 700
    for name in names:
        with pytest.raises(ValueError, match=r"\w"):
            verifier.verify(digest(product().program), proven.bumped(name), queries=70)


def test_no_flipped_bit_is_accepted(proven):
    chance = random.Random(2026)
    for place in chance.sample(range(8 * len(proven.proof)), 500):
        proof = bytearray(proven.proof)
        proof[place // 8] ^= 1 << place % 8
        refuse(bytes(proof))
    assert accept(proven.proof, product()) == [48, 5]


def test_field_elements_have_one_encoding(proven):
    chance = random.Random(31)
    lists = [
        name for name in proven.fields if name.startswith(("sample.", "value.", "fri.", "sum.", "initial.", "final."))
    ]
    elements = [name for name in lists if proven.fields[name][1] == 4 and proven.get(name) <= 1]
    for name in chance.sample(elements, min(30, len(elements))):
        refuse(proven.changed(**{name: proven.get(name) + P31}), "not below 2147483647|not constant")
    for name in ("sample.1.0.0.0", "value.1.0.0", "fri.first.witness.0.2", "fri.last.0.3", "sum.add_opcode_small.1"):
        refuse(proven.changed(**{name: P31}), "not below 2147483647")
    for name in ("safe_call.0", "output.0.id", "program.3.id", "segment.output.start.id"):
        refuse(proven.changed(**{name: proven.get(name) | 1 << 31}), "memory id")


def test_output_words_have_one_encoding(proven):
    word = 48 + PRIME
    change = {f"output.0.word{i}": word >> 32 * i & 2**32 - 1 for i in range(8)}
    refuse(proven.changed(**change), "output word 0 is not below")


def test_output_words_can_neither_be_added_nor_changed_nor_removed(proven):
    at, _ = proven.fields["output#"]
    count, size = proven.get("output#"), 36
    words = proven.proof[at + 8 : at + 8 + count * size]
    for fewer_or_more in (words + words[:size], words[:size], b""):
        new = len(fewer_or_more) // size
        proof = proven.proof[:at] + u64(new) + fewer_or_more + proven.proof[at + 8 + len(words) :]
        refuse(proof, "more or fewer output words")
        stop = proven.get("segment.output.start") + new
        moved = Layout(proof).changed(segment__output__stop=stop)
        refuse(moved, "not valid")
    refuse(proven.bumped("output.0.word0"), "not valid")
    swapped = words[size:] + words[:size]
    refuse(proven.proof[: at + 8] + swapped + proven.proof[at + 8 + len(words) :], "not valid")


def test_an_output_pointer_moved_elsewhere_is_refused(proven):
    moved = {"segment__output__start": 1, "segment__output__stop": 1 + proven.get("output#")}
    refuse(proven.changed(**moved), "not those that the program wrote")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pointer", "not those that the program wrote"),
        ("total", "not the sum of its parts"),
        ("orphan", "poseidon_builtin: a sum without a component"),
    ],
)
def test_proofs_of_false_statements_that_upstream_accepts_are_refused(kind, reason):
    """Proofs that 7 * 9 + 3 = 67, which stwo-cairo's own verifier accepts: prover/engine/examples/forge.rs."""
    proof = lzma.decompress((FORGERIES / f"{kind}.xz").read_bytes())
    assert Layout(proof).get("output.0.word0") == 67
    refuse(proof, reason)


def test_a_component_without_its_builtin_is_refused(proven):
    """Its start would be the prover's choice after the challenges."""
    present = proven.fields["segment.range_check_128?"][0]
    absent = proven.proof[:present] + b"\0" + proven.proof[present + 17 :]
    words = [*product().words]
    words[1] = 1
    program = encode(("output",), words)
    relabelled = bytearray(absent)
    relabelled[proven.fields["program.1.word0"][0]] = 1
    refuse(bytes(relabelled), "RangeCheck: not a builtin of the program", program=program)


def test_a_proof_ends_where_it_ends(proven):
    proof = proven.proof
    for extra in (b"\0", b"x" * 100, proof):
        refuse(proof + extra, "cannot be read")
    chance = random.Random(5)
    for length in [*range(60), *chance.sample(range(len(proof)), 60), len(proof) - 1]:
        refuse(proof[:length], "cannot be read|not an Orion proof")
    refuse(b"", "not an Orion proof")


def test_garbage_is_refused_within_a_gigabyte():
    """In a process that may not use more; the third blob announces lists that it does not have."""
    code = """
        import os, resource
        import balance_orion_verifier as verifier
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        magic = bytes.fromhex(MAGIC)
        size = 100 * 2**20
        blobs = [
            lambda: bytes(size), lambda: magic + bytes(size), lambda: magic + b"\\xff" * 64,
            lambda: magic + bytes(verifier.MAX_PROOF_BYTES - len(magic)),
            lambda: magic + (2**40).to_bytes(8, "little") + bytes(30 * 2**20),
            lambda: magic + (10**6).to_bytes(8, "little") + b"\\1" * (39 * 2**20),
            lambda: os.urandom(10**6), lambda: magic + os.urandom(10**6),
        ]
        for blob in blobs:
            try:
                verifier.verify(bytes(32), blob(), queries=70)
            except ValueError as error:
                print(error)
            else:
                raise SystemExit("accepted")
    """
    code = textwrap.dedent(code).replace("MAGIC", repr(MAGIC.hex()))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 8
    assert result.stderr == ""


def test_a_list_of_empty_lists_costs_no_more_than_its_bytes_allow(proven):
    """The worst growth from bytes to memory: samples of five million columns without any."""
    at, _ = proven.fields["sample.1#"]
    count = (verifier.MAX_PROOF_BYTES - len(proven.proof)) // 8
    grown = proven.proof[:at] + u64(proven.get("sample.1#") + count) + bytes(8 * count) + proven.proof[at + 8 :]
    code = """
        import resource, sys
        import balance_orion_verifier as verifier
        proof = sys.stdin.buffer.read()
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        try:
            verifier.verify(bytes.fromhex(sys.argv[1]), proof, queries=70)
        except ValueError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), digest(product().program).hex()]
    result = subprocess.run(command, input=grown, capture_output=True, timeout=120, check=False)
    assert b"columns are sampled" in result.stdout, result.stderr


def test_programs_have_one_encoding():
    program = product().program
    assert verifier.program_hash(program) == digest(program)
    for bad in (program + b"\0", program[:-1], program[:30], b"", program.replace(b"\x01", b"\x02", 1)):
        with pytest.raises(ValueError, match=r"program"):
            verifier.program_hash(bad)
    with pytest.raises(ValueError, match="not below the field's prime"):
        verifier.program_hash(encode(("output", "range_check"), [*product().words, PRIME]))
    with pytest.raises(ValueError, match="not supported"):
        verifier.program_hash(encode(("output", "ecdsa"), product().words))
    with pytest.raises(ValueError, match="header"):
        verifier.program_hash(encode(("output", "range_check", "bitwise"), product().words))


def test_the_pinned_root_is_the_one_of_the_tables_as_they_are_defined():
    assert prover.preprocessed_root() == verifier.PREPROCESSED_ROOT


def test_bits_of_security_are_told_under_both_assumptions():
    assert verifier.security_bits(70) == (96, 59)
    assert verifier.security_bits(140) == (100, 72)
    with pytest.raises(ValueError, match="not offered"):
        verifier.security_bits(100)
