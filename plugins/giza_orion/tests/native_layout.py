"""Where each field of a proof stands in its bytes, so that tests can change any of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAGIC = b"balance-orion-proof\x01"
SEGMENTS = (
    *("pedersen", "range_check_128", "ecdsa", "bitwise", "ec_op"),
    *("keccak", "poseidon", "range_check_96", "add_mod", "mul_mod"),
)
# Components of stwo-cairo 1.3 in their order, with the number of integers in each one's claim.
TABLE = """
add_opcode 1 add_opcode_small 1 add_ap_opcode 1 assert_eq_opcode 1 assert_eq_opcode_imm 1
assert_eq_opcode_double_deref 1 blake_compress_opcode 1 call_opcode_abs 1 call_opcode_rel_imm 1 generic_opcode 1
jnz_opcode_non_taken 1 jnz_opcode_taken 1 jump_opcode_abs 1 jump_opcode_double_deref 1 jump_opcode_rel 1
jump_opcode_rel_imm 1 mul_opcode 1 mul_opcode_small 1 qm_31_add_mul_opcode 1 ret_opcode 1 verify_instruction 1
blake_round 1 blake_g 1 blake_round_sigma 0 triple_xor_32 1 verify_bitwise_xor_12 0 add_mod_builtin 2
bitwise_builtin 2 mul_mod_builtin 2 pedersen_builtin 2 pedersen_builtin_narrow_windows 2 poseidon_builtin 2
range_check96_builtin 2 range_check_builtin 2 ec_op_builtin 2 partial_ec_mul_generic 1
pedersen_aggregator_window_bits_18 1 partial_ec_mul_window_bits_18 1 pedersen_points_table_window_bits_18 0
pedersen_aggregator_window_bits_9 1 partial_ec_mul_window_bits_9 1 pedersen_points_table_window_bits_9 0
poseidon_aggregator 1 poseidon_3_partial_rounds_chain 1 poseidon_full_round_chain 1 cube_252 1
poseidon_round_keys 0 range_check_252_width_27 1 memory_address_to_id 1 memory_id_to_big -1 memory_id_to_small 1
range_check_6 0 range_check_8 0 range_check_11 0 range_check_12 0 range_check_18 0 range_check_20 0
range_check_4_3 0 range_check_4_4 0 range_check_9_9 0 range_check_7_2_5 0 range_check_3_6_6_3 0
range_check_4_4_4_4 0 range_check_3_3_3_3_3 0 verify_bitwise_xor_4 0 verify_bitwise_xor_7 0 verify_bitwise_xor_8 0
verify_bitwise_xor_9 0
"""
COMPONENTS = TABLE.split()


@dataclass
class Layout:
    """Fields of a proof by name: offset and size of each number, length and option tag."""

    proof: bytes
    at: int = len(MAGIC)
    fields: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self):
        assert self.proof.startswith(MAGIC)
        self.claim()
        self.number("interaction_pow", 8)
        self.sums()
        self.stark()
        self.number("channel_salt", 4)
        self.number("variant", 4)
        assert self.at == len(self.proof)

    def number(self, name, size):
        """Read an integer."""
        assert name not in self.fields, name
        self.fields[name] = (self.at, size)
        self.at += size
        return int.from_bytes(self.proof[self.at - size : self.at], "little")

    def element(self, name, read):
        """Read an optional value."""
        if self.number(f"{name}?", 1):
            read(name)

    def each(self, name, read):
        """Read a list."""
        for index in range(self.number(f"{name}#", 8)):
            read(f"{name}.{index}")

    def numbers(self, *names, size=4):
        """A reader of some integers."""

        def read(prefix):
            for name in names:
                self.number(f"{prefix}.{name}" if name else prefix, size)

        return read

    def extension(self, name):
        """A number of the extension field: four of the base field."""
        self.numbers("0", "1", "2", "3")(name)

    def claim(self):
        """Public data, then what each component claims."""
        felt = self.numbers("id", *(f"word{i}" for i in range(8)))
        segment = self.numbers("start.id", "start", "stop.id", "stop")
        self.each("program", felt)
        segment("segment.output")
        for name in SEGMENTS:
            self.element(f"segment.{name}", segment)
        self.each("output", felt)
        self.numbers("0", "1")("safe_call")
        self.numbers("pc", "ap", "fp")("initial")
        self.numbers("pc", "ap", "fp")("final")
        for name, count in zip(COMPONENTS[::2], map(int, COMPONENTS[1::2]), strict=True):
            if count < 0:
                self.element(f"claim.{name}", lambda name: self.each(name, self.numbers("")))
            else:
                self.element(f"claim.{name}", self.numbers(*("log_size", "start")[:count]))

    def sums(self):
        """What each component adds to the look-up argument."""
        for name in COMPONENTS[::2]:
            if name == "memory_id_to_big":
                self.number(f"sum.{name}?", 1)
                self.each(f"sum.{name}.parts", self.extension)
                self.extension(f"sum.{name}.total")
            else:
                self.element(f"sum.{name}", self.extension)

    def stark(self):
        """Configuration, commitments, openings and FRI."""
        self.numbers("pow_bits", "log_blowup", "log_last_layer")("config")
        self.number("config.queries", 8)
        self.number("config.fold_step", 4)
        self.element("config.lifting", self.numbers(""))
        hashed = self.numbers("", size=32)

        def table(read):
            return lambda name: self.each(name, lambda name: self.each(name, lambda name: self.each(name, read)))

        def layer(name):
            self.each(f"{name}.witness", self.extension)
            self.each(f"{name}.path", hashed)
            self.number(f"{name}.commitment", 32)

        self.each("commitment", hashed)
        table(self.extension)("sample")
        self.each("path", lambda name: self.each(name, hashed))
        table(self.numbers(""))("value")
        self.number("proof_of_work", 8)
        layer("fri.first")
        self.each("fri.inner", layer)
        self.each("fri.last", self.extension)
        self.number("fri.last.log_size", 4)

    def get(self, name):
        """A field's number."""
        at, size = self.fields[name]
        return int.from_bytes(self.proof[at : at + size], "little")

    def changed(self, **values):
        """The proof with other numbers in some fields; `__` stands for a dot."""
        proof = bytearray(self.proof)
        for name, value in values.items():
            at, size = self.fields[name.replace("__", ".")]
            proof[at : at + size] = value.to_bytes(size, "little")
        return bytes(proof)

    def bumped(self, name):
        """The proof with one field one higher, or one lower where it is at its end."""
        at, size = self.fields[name]
        value = self.get(name)
        bump = value + 1 if value + 1 < 256**size else value - 1
        return self.proof[:at] + bump.to_bytes(size, "little") + self.proof[at + size :]

    def spliced(self, name, content, *, insert=False):
        """The proof with other bytes in a field's place, or before it."""
        at, size = self.fields[name]
        return self.proof[:at] + content + self.proof[at if insert else at + size :]


def u64(value):
    """A length."""
    return struct.pack("<Q", value)
