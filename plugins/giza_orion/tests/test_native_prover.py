"""What the prover does with programs, tapes and callers that misbehave, and with those that do not."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from .native_layout import Layout
from .native_programs import Assembler, countdown, hashed, number, product, segments

prover = pytest.importorskip("balance_orion_prover", reason="giza_orion: no native wheels", exc_type=ImportError)
processor = pytest.importorskip("balance_orion_prover.processor")


def tape(*values):
    return np.asarray(values, "<i8").tobytes()


def run(code, data=b""):
    return prover.run(code.program, code.hints, data)


def test_a_run_tells_output_steps_and_rows():
    answer = run(product(), tape(7, 9))
    assert [number(word) for word in answer["output"]] == [66, 7]
    assert answer["steps"] == 12
    rows = answer["rows"]
    assert rows["mul_opcode_small"] == 1
    assert rows["range_check_builtin"] == 16  # two, padded
    assert sum(count for name, count in rows.items() if "opcode" in name) == answer["steps"]


def test_hints_fill_segments_and_take_negative_and_wide_numbers():
    wide = 2**250
    answer = run(segments(), tape(7, -9) + wide.to_bytes(32, "little"))
    assert number(answer["output"][0]) == number((wide - 2).to_bytes(32, "little"))


def test_a_tape_of_a_million_numbers_is_read_in_a_second():
    code = Assembler(("output",))
    code.hint(3, 10**6, 1)
    code.grow(10**6 + 1)
    code.finish({})
    start = time.process_time()
    assert run(code, np.arange(10**6, dtype="<i8").tobytes())["steps"] < 10
    assert time.process_time() - start < 10  # seconds of all threads, on a machine that does other things too


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tape(7), "tape ends"),
        (tape(7, 9, 1), "8 bytes of the tape unread"),
        (tape(7, -9), "does not run"),
        (b"", "tape ends"),
    ],
)
def test_a_tape_that_does_not_fit_is_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        run(product(), data)


def test_hints_that_make_no_sense_are_refused():
    code = product()
    for hint, reason in (((10**6, 0, 1, 0), "the program has"), ((6, 9, 1, 0), "unknown kind 9")):
        with pytest.raises(ValueError, match=reason):
            prover.run(code.program, [hint], b"")
    for hint in ((6, 3, 2**62, 0), (6, 3, 2, -(2**31)), (6, 2, 1, 0), (6, 3, 2, 2**31 - 1)):
        with pytest.raises(ValueError, match=r"does not run"):
            prover.run(code.program, [hint], tape(1, 2, 3, 4))
    high = bytes([255] * 32)
    with pytest.raises(ValueError, match="not below the field's prime"):
        prover.run(code.program, [(6, 0, 1, 0)], high)


@pytest.mark.slow
def test_a_program_that_does_not_end_is_stopped():
    endless = countdown(2**62)
    with pytest.raises(ValueError, match="does not run"):
        run(endless)


def test_a_run_too_long_for_one_proof_is_refused_with_the_numbers_before_anything_is_spent():
    code = countdown(prover.MAX_ROWS + 5)
    begun = []
    with pytest.raises(ValueError, match=rf"needs {prover.MAX_ROWS + 5 + 1} rows of at most {prover.MAX_ROWS}"):
        prover.prove(code.program, code.hints, b"", queries=70, progress=begun.append)
    assert begun == ["run", "adapt"]


def test_values_beyond_the_table_of_small_ones_go_to_the_large_one():
    """More distinct numbers than the small table has rows."""
    code = Assembler(("output",))
    count = prover.MAX_ROWS + 1000
    code.hint(3, count, 1)
    code.grow(count + 1)
    code.finish({})
    rows = run(code, np.arange(count, dtype="<i8").tobytes())["rows"]
    assert rows["memory_id_to_small"] == prover.MAX_ROWS
    assert 900 < rows["memory_id_to_big"] < 1100


def test_progress_names_the_phases_and_the_answer_has_their_seconds():
    code = product()
    begun = []
    answer = prover.prove(code.program, code.hints, tape(6, 9), queries=70, progress=begun.append, threads=2)
    assert begun == [
        "run",
        "adapt",
        "setup",
        "trace",
        "commit",
        "interaction",
        "fri",
        "composition",
        "grind",
        "check",
    ]
    assert set(begun) < set(answer["seconds"])
    assert answer["rows"] == run(code, tape(6, 9))["rows"]


def test_the_rows_counted_beforehand_are_those_of_the_proof():
    code = hashed()
    answer = prover.prove(code.program, code.hints, tape(3, 4, 5), queries=70)
    layout = Layout(answer["proof"])
    sizes = [name for name in layout.fields if name.startswith("claim.") and name.endswith(".log_size")]
    claimed = {name.split(".")[1]: layout.get(name) for name in sizes}
    claimed["memory_id_to_big"] = layout.get("claim.memory_id_to_big.0")
    counted = {name: max(16, count) for name, count in answer["rows"].items() if name != "output_builtin"}
    assert {name: max(4, (count - 1).bit_length()) for name, count in counted.items()} == claimed


def test_an_exception_in_progress_ends_the_proof_and_the_next_one_works():
    code = product()

    class Enough(Exception):
        pass

    def stop(phase):
        if phase == "trace":
            raise Enough(phase)

    for _ in range(2):
        with pytest.raises(Enough, match="trace"):
            prover.prove(code.program, code.hints, tape(6, 9), queries=70, progress=stop)
    assert number(run(code, tape(6, 9))["output"][0]) == 57


def test_other_threads_run_while_a_program_does():
    code = countdown(400_000)
    ticks = []
    over = threading.Event()

    def tick():
        while not over.wait(0.005):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        begin = time.monotonic()
        run(code)
        end = time.monotonic()
    finally:
        over.set()
        thread.join()
    assert sum(begin < at < end for at in ticks) >= 2


def test_queries_that_are_not_offered_are_refused():
    for queries in (0, 1, 71, 280):
        with pytest.raises(ValueError, match="choose 70 or 140"):
            prover.prove(product().program, [], b"", queries=queries)


def test_a_processor_without_the_instructions_is_named_with_what_it_lacks(monkeypatch, tmp_path):
    flags = " ".join(sorted(processor.NEEDED))
    assert processor.missing(f"vendor_id : x\nflags\t\t: {flags}\nflags : fpu\n") == []
    assert processor.missing("flags : fpu avx " + flags.replace("avx2", "").replace("bmi2", "")) == ["avx2", "bmi2"]
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu sse sse2\n")
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    with pytest.raises(ImportError, match=r"x86-64-v3 processor.*avx2.*The verifier runs on any"):
        processor.require_processor()
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    processor.require_processor()
