"""The engine's parts: walks over the grid, layouts, memory, the search for the fastest chunk."""

import gc
import random
from typing import ClassVar

import pytest
import torch
from helpers import tiny_cnn
from hypothesis import given
from hypothesis import strategies as st

from captum_spectral import BandGame
from captum_spectral._engine import chunk_size
from captum_spectral._engine.chunk_size import (
    AutomaticFormat,
    AutomaticSize,
    Clock,
    Formats,
    automatic_size,
)
from captum_spectral._engine.memory import Buffer, is_out_of_memory, release, what_it_said
from captum_spectral._engine.rows import Walk
from captum_spectral._engine.signals import Layout

CPU = torch.device("cpu")

# ---------------------------------------------------------------------- walks


@given(
    num_examples=st.integers(1, 6),
    num_coalitions=st.integers(1, 9),
    by_example=st.booleans(),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_a_walk_meets_every_pair_once_whatever_the_chunks(
    num_examples, num_coalitions, by_example, sizes
):
    walk = Walk(num_examples, num_coalitions, by_example)
    met = torch.zeros(num_examples, num_coalitions, dtype=torch.long)
    oldest = 0
    while walk.remaining:
        chunk = walk.chunk(sizes[int(met.sum()) % len(sizes)])
        assert 0 < chunk.rows <= max(40, num_examples)
        cells = [chunk.cell(row) for row in range(chunk.rows)]
        assert [e for e, _ in cells] == chunk.examples(CPU).tolist()
        for e, k in cells:
            met[e, k] += 1
        in_tiles = torch.full((chunk.rows, 2), -1)
        for tile in chunk.tiles():
            view = tile.view(in_tiles)
            e = torch.arange(tile.examples.start, tile.examples.stop)
            k = torch.arange(tile.coalitions.start, tile.coalitions.stop)
            view[..., 0], view[..., 1] = e[:, None], k[None, :]
        assert in_tiles.tolist() == [list(cell) for cell in cells]
        assert len(chunk.tiles()) <= 3
        if chunk.by_example:  # bands of earlier examples can be dropped
            assert chunk.first_example == cells[0][0] >= oldest
            oldest = chunk.first_example
        walk.done(chunk)
    assert (met == 1).all()


def test_by_coalition_a_chunk_holds_whole_batches_until_not_even_one_fits():
    walk = Walk(num_examples=4, num_coalitions=5, by_example=False)
    chunk = walk.chunk(11)
    assert chunk.rows == 8
    walk.done(chunk)
    chunk = walk.chunk(3)
    assert chunk.by_example
    assert [chunk.cell(r) for r in range(3)] == [(0, 2), (0, 3), (0, 4)]


# ---------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [((4, 3, 5, 6), torch.channels_last), ((2, 3, 4, 5, 6), torch.channels_last_3d)],
)
def test_rows_take_the_memory_format_of_the_input(shape, memory_format):
    x = torch.randn(shape).contiguous(memory_format=memory_format)
    layout = Layout.of(x)
    signals = layout.unflatten(torch.randn(7, layout.size))
    assert signals.shape == (7, *shape[1:])
    assert signals.is_contiguous(memory_format=memory_format)
    assert Layout.of(x.contiguous()).order == tuple(range(len(shape) - 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_memory_of_rows_is_used_again_unless_somebody_holds_them(dtype):
    buffer = Buffer(CPU)
    rows = buffer.rows(4, 10, dtype)
    assert rows.shape == (4, 10)
    assert rows.dtype is dtype
    assert rows.data_ptr() % 64 == 0
    address = rows.data_ptr()
    del rows
    again = buffer.rows(3, 10, dtype)
    assert again.data_ptr() == address
    kept = again[1:].view(-1)  # a view is enough
    del again
    kept.fill_(1)
    assert buffer.rows(4, 10, dtype).fill_(2).data_ptr() != address
    assert (kept == 1).all()


def test_allocation_failures_are_recognised():
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**55)
    assert is_out_of_memory(real.value)
    assert "you tried to allocate" in what_it_said(real.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"))
    assert what_it_said(MemoryError()) == "MemoryError"
    parallel = torch.OutOfMemoryError(
        "Caught OutOfMemoryError in replica 0.\nTried to allocate 2 B"
    )
    assert what_it_said(parallel) == "Tried to allocate 2 B"
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
    release(CPU)


def test_what_the_allocator_said_comes_without_its_advice():
    said = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free. If reserved but "
        "unallocated memory is large try setting PYTORCH_ALLOC_CONF. See documentation ..."
    )
    assert what_it_said(said) == (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free."
    )


# ---------------------------------------------------------------------- the size of chunks


def run(size, seconds_per_row, rows, limit=None):
    """Let a simulated model of known speed do ``rows`` rows; returns the seconds it took."""
    size.start_run()
    total, timed = 0.0, False
    while rows:
        chunk = size.rows(rows)
        assert 1 <= chunk <= rows
        if limit is not None and chunk > limit:
            size.too_large(chunk)
            continue
        seconds = chunk * seconds_per_row(chunk)
        if timed:  # as the clock does: the first chunk has no time
            size.took(chunk, seconds)
        total, timed, rows = total + seconds, True, rows - chunk
    return total


@given(
    start=st.sampled_from([1, 4, 64, 256]),
    optimum=st.integers(0, 9),
    steep=st.floats(0.05, 1.0),
    noise=st.floats(0.0, 0.04),
    seed=st.integers(0, 99),
)
def test_the_size_found_is_as_fast_as_the_best_whatever_the_model(
    start, optimum, steep, noise, seed
):
    disturbance = random.Random(seed)

    def seconds_per_row(rows):
        away = abs(rows.bit_length() - 1 - optimum)
        return (1 + steep * away) * (1 + noise * disturbance.random())

    size = AutomaticSize(start)
    run(size, seconds_per_row, 20_000)  # one or more earlier calls
    later = run(size, seconds_per_row, 20_000)
    assert later <= 20_000 * 1.10


def test_the_search_costs_little_where_the_first_guess_is_right():
    cost = {1: 1.3, 2: 1.1, 4: 1.0, 8: 1.4, 16: 1.6, 32: 2.4}  # EfficientNet-Lite0 on a CPU
    assert run(AutomaticSize(4), cost.__getitem__, 256) < 256 * 1.04


def test_a_single_disturbed_measurement_does_not_decide_for_good():
    chunks = 0

    def seconds_per_row(rows):
        nonlocal chunks
        chunks += rows == 8
        return 10.0 if rows == 8 and chunks < 3 else 1 / rows  # the first tries of 8 are disturbed

    size = AutomaticSize(4)
    run(size, seconds_per_row, 2000)
    assert run(size, seconds_per_row, 8000) < 8000 / 8


def test_what_does_not_fit_is_not_tried_again_in_the_same_run():
    size = AutomaticSize(64)
    tried = []

    def seconds_per_row(rows):
        tried.append(rows)
        return 1 / rows  # the larger the better

    run(size, seconds_per_row, 5000, limit=100)
    assert max(tried) == 64
    for _ in range(5):  # memory may be free later, so it is tried in later runs, ever less often
        run(size, seconds_per_row, 5000, limit=1000)
    assert max(tried) > 64


def test_after_a_moment_without_memory_the_size_recovers_in_a_few_runs():
    size = AutomaticSize(64)
    run(size, lambda rows: 1 / rows, 20_000)
    assert size.rows(9999) >= 1024
    size.too_large(1)  # a remainder of one row did not fit
    runs = 0
    while size.rows(9999) < 1024:
        run(size, lambda rows: 1 / rows, 20_000)
        runs += 1
    assert runs <= 11


def test_what_never_fits_is_tried_ever_less_often(monkeypatch):
    failures, too_large = [], AutomaticSize.too_large
    monkeypatch.setattr(
        AutomaticSize, "too_large", lambda self, n: failures.append(n) or too_large(self, n)
    )
    size = AutomaticSize(64)
    for _ in range(64):
        run(size, lambda rows: 1 / rows, 5000, limit=100)
    assert 2 <= len(failures) <= 8
    assert set(failures) == {128}


def test_the_size_is_remembered_for_a_model_and_a_kind_of_input():
    model, x = tiny_cnn(), torch.rand(2, 3, 8, 8)
    first = automatic_size(model, (x,), None)
    assert automatic_size(model, (torch.rand(5, 3, 8, 8),), None) is first  # B does not matter
    assert automatic_size(model, (torch.rand(2, 3, 9, 8),), None) is not first
    assert automatic_size(model, (x.double(),), None) is not first
    assert automatic_size(model, (x,), "channels_last") is not first
    assert automatic_size(tiny_cnn(), (x,), None) is not first
    assert automatic_size(model.forward, (x,), None) is automatic_size(model.forward, (x,), None)
    known = len(chunk_size._known)
    del model, first
    gc.collect()
    assert len(chunk_size._known) < known

    class Unforgettable:
        __slots__ = ()  # no weak references
        __hash__ = None

        def __call__(self, x):
            return x

    anything = Unforgettable()
    assert automatic_size(anything, (x,), None) is not automatic_size(anything, (x,), None)


def test_the_first_guess_is_four_photographs_on_a_cpu():
    assert automatic_size(tiny_cnn(), (torch.rand(1, 3, 224, 224),), None).rows(99) == 4
    assert automatic_size(tiny_cnn(), (torch.rand(1, 1, 28, 28),), None).rows(999) == 256
    assert automatic_size(tiny_cnn(), (torch.rand(1, 3, 900, 900),), None).rows(99) == 1


def test_the_clock_times_all_chunks_but_the_first():
    clock = Clock(CPU)
    assert not list(clock.times())
    for rows in (4, 8, 2):
        clock.chunk_ended(rows, channels_last=rows == 8)
    times = list(clock.times())
    assert [(rows, channels_last) for rows, _, channels_last in times] == [(8, True), (2, False)]
    assert all(0 <= seconds < 60 for _, seconds, _ in times)
    assert not list(clock.times())  # each once


class FakeEvent:
    """What the clock needs of a CUDA event; the device passes it when told to."""

    made: ClassVar = []

    def __init__(self, enable_timing):
        assert enable_timing
        self.at, self.passed = float(len(self.made)), False
        self.made.append(self)

    def record(self, stream):
        assert stream == "stream of cuda:0"

    def query(self):
        return self.passed

    def elapsed_time(self, end):
        return 1000 * (end.at - self.at)


def test_on_cuda_the_clock_reads_what_the_device_has_passed_and_never_waits(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    clock = Clock(torch.device("cuda:0"))
    for rows in (64, 64, 128):
        clock.chunk_ended(rows)
    assert not list(clock.times())
    FakeEvent.made[0].passed = FakeEvent.made[1].passed = True
    assert list(clock.times()) == [(64, 1.0, False)]
    FakeEvent.made[2].passed = True
    assert list(clock.times()) == [(128, 1.0, False)]


def test_evaluating_streams_the_examples(monkeypatch):
    from captum_spectral._engine.signals import Signals

    held, split = [], Signals.split

    def counting(self, examples):
        held.append((examples.start, examples.stop))
        return split(self, examples)

    monkeypatch.setattr(Signals, "split", counting)
    monkeypatch.setattr(chunk_size, "LARGEST_GUESS", 8)
    game = BandGame(tiny_cnn(1), torch.rand(3, 1, 8, 10, dtype=torch.float64), num_bands=4)
    game.evaluate(torch.rand(16, 4) < 0.5)
    assert held == [(0, 3)]  # 48 rows of this size are one block
    held.clear()
    monkeypatch.setattr("captum_spectral._engine.signals.BLOCK_BYTES", 0)
    game.evaluate(torch.rand(15, 4) < 0.5)
    assert held == [(0, 1), (1, 2), (2, 3)]  # each once, though chunks straddle examples


# ---------------------------------------------------------------------- memory formats


def race(formats, seconds_per_row, chunks, rows=4):
    """Let a simulated model of known speeds do some chunks; returns the format of each."""
    sizes = AutomaticSize(rows), AutomaticSize(rows)
    size, done = AutomaticFormat(formats, sizes), []
    for chunk in range(chunks):
        taken = size.rows(10**6)
        done.append(size.channels_last)
        if chunk:  # as the clock does
            size.took(taken, taken * seconds_per_row(done[-1]), done[-1])
    return done


@pytest.mark.parametrize(("speed", "faster"), [(0.8, True), (1.2, False), (0.99, False)])
def test_the_faster_memory_format_is_found(speed, faster):
    formats = Formats()
    done = race(formats, lambda channels_last: speed if channels_last else 1.0, 40)
    assert formats.verdict is faster
    assert set(done[9 if speed < 0.9 or speed > 1.1 else 17 :]) == {faster}
    assert race(formats, lambda _: 1.0, 10) == [faster] * 10  # and remembered


def test_one_slow_moment_does_not_change_a_verdict():
    formats = Formats()
    race(formats, lambda channels_last: 0.8 if channels_last else 1.0, 20)
    while formats.verdict is not None:  # until the second race begins
        formats.next()
    for channels_last, seconds in ((False, 1.0), (True, 2.0), (False, 1.0)):  # the second is hit
        for _ in range(4):
            assert formats.next() is channels_last
            assert formats.verdict is None
            formats.took(1, seconds, channels_last)
    assert formats.next() is True
    formats.took(1, 0.8, True)
    assert formats.verdict is True


def test_a_disturbed_race_is_run_again():
    formats = Formats()
    race(formats, lambda channels_last: 2.0 if channels_last else 1.0, 20)
    assert formats.verdict is False
    race(formats, lambda channels_last: 0.8 if channels_last else 1.0, 200)
    assert formats.verdict is True


def test_a_format_that_a_model_cannot_do_with_is_not_tried_again():
    formats = Formats()
    formats.refuse()
    assert not any(race(formats, lambda channels_last: 1.0 - 0.5 * channels_last, 2000))


def test_remainders_do_not_decide_a_race():
    formats = Formats()
    size = AutomaticFormat(formats, (AutomaticSize(4), AutomaticSize(4)))
    for _ in range(40):
        assert size.rows(3) == 3
        size.took(3, 1.0, size.channels_last)
    assert formats.verdict is None
