"""A second implementation of the Cairo machine, small enough to check by eye: what a program accepts, no more.

It knows no hints. Given are the program, the output segment's first cells and the range-check segment; every other
cell must follow from an assertion, or the run is refused. So it also shows that a program reads no cell that it did
not determine.
"""

from __future__ import annotations

from balance_orion.machine import P

OUTPUT, CHECK = 2**26, 2**27
"""Where the two segments begin; nothing in a program may depend on it."""


class Refused(Exception):
    """The run breaks a rule of the machine."""


def run(words, output, checks, *, limit=2_000_000):
    """Run a program; returns its whole output segment, or raises Refused."""
    return Machine(words, output, checks).run(limit)


class Machine:
    def __init__(self, words, output, checks):
        self.memory = dict(enumerate(words, start=1))
        self.stack = len(words) + 3
        self.memory |= {self.stack: OUTPUT, self.stack + 1: CHECK}
        self.memory |= {OUTPUT + i: value % P for i, value in enumerate(output)}
        self.memory |= {CHECK + i: value % P for i, value in enumerate(checks)}
        self.checks = len(checks)
        self.pc, self.ap, self.fp = 1, self.stack, self.stack
        self.steps = 0

    def run(self, limit):
        for index in range(self.checks):
            if self.memory[CHECK + index] >= 2**128:
                raise Refused(f"range-checked cell {index} is too large")
        while self.pc != 5:
            if self.steps == limit:
                raise Refused("too many steps")
            self.step()
            self.steps += 1
        output_end, check_end = self.cell(self.ap - 2), self.cell(self.ap - 1)
        if check_end != CHECK + self.checks:
            raise Refused("another number of range-checked cells was used")
        return [self.cell(address) for address in range(OUTPUT, output_end)]

    def cell(self, address):
        if address not in self.memory:
            raise Refused(f"cell {address} is read and was never determined")
        return self.memory[address]

    def put(self, address, value):
        if self.memory.setdefault(address, value % P) != value % P:
            raise Refused(f"two values for one cell, at step {self.steps}")

    def step(self):
        word = self.cell(self.pc)
        offsets = [(word >> shift & 0xFFFF) - 2**15 for shift in (0, 16, 32)]
        flags = word >> 48
        dst = (self.fp if flags & 1 else self.ap) + offsets[0]
        op0 = (self.fp if flags & 2 else self.ap) + offsets[1]
        source = flags >> 2 & 7
        size = 2 if source == 1 else 1
        base = {0: None, 1: self.pc, 2: self.fp, 4: self.ap}[source]
        op1 = (self.cell(op0) if base is None else base) + offsets[2]
        res, jump, advance, opcode = flags >> 5 & 3, flags >> 7 & 7, flags >> 10 & 3, flags >> 12
        if opcode == 1:
            self.put(self.ap, self.fp)
            self.put(self.ap + 1, self.pc + size)
            self.ap = self.fp = self.ap + 2
            self.pc = (self.pc + self.cell(op1)) % P
            return
        if opcode == 2:
            self.pc, self.fp = self.cell(self.fp - 1), self.cell(self.fp - 2)
            return
        if opcode == 4:
            self.equate(res, dst, op0, op1)
            self.pc += size
        elif jump == 4:
            self.pc = (self.pc + self.cell(op1)) % P if self.cell(dst) else self.pc + size
        elif jump == 2:
            self.pc = (self.pc + self.cell(op1)) % P
        else:
            self.pc += size
        if advance == 1:
            self.ap = (self.ap + self.cell(op1)) % P
        elif advance == 2:
            self.ap += 1

    def equate(self, res, dst, op0, op1):
        """[dst] = [op1], [op0] + [op1] or [op0] * [op1]; one of the cells may still be open."""
        known = self.memory
        if res == 0:
            if dst not in known:
                self.put(dst, self.cell(op1))
            else:
                self.put(op1, known[dst])
        elif res == 1:
            if dst not in known:
                self.put(dst, self.cell(op0) + self.cell(op1))
            elif op0 not in known:
                self.put(op0, known[dst] - self.cell(op1))
            else:
                self.put(op1, known[dst] - known[op0])
        else:
            self.put(dst, self.cell(op0) * self.cell(op1))
