"""Which shards a step draws from."""

from lwd_core.loader.schedule import SpanSchedule

ROWS = {"a": 60, "b": 50, "c": 40, "d": 200}


def schedule(pool_rows: int | None, *, endless: bool) -> SpanSchedule:
    return SpanSchedule(7, ROWS, ROWS, 10, pool_rows, endless=endless)


def test_one_pool_drawn_with_replacement_never_ends():
    span = schedule(None, endless=True).span(10**12)
    assert (span.begin, span.shards) == (0, ("a", "b", "c", "d"))


def test_an_epoch_of_one_pool_is_as_long_as_its_steps():
    one = schedule(None, endless=False)
    assert [(s.epoch, s.begin, s.end) for s in map(one.span, (0, 34, 35, 70))] == [
        (0, 0, 35),
        (0, 0, 35),
        (1, 35, 70),
        (2, 70, 105),
    ]


def test_a_streamed_epoch_has_every_shard_once_in_pools_that_fit_or_are_one_shard():
    streamed = schedule(110, endless=True)
    spans, step = [], 0
    while (span := streamed.span(step)).epoch == 0:
        spans.append(span)
        step = span.end
    assert sorted(name for span in spans for name in span.shards) == ["a", "b", "c", "d"]
    for span in spans:
        assert len(span.shards) == 1 or sum(ROWS[name] for name in span.shards) <= 110
        assert span.end - span.begin == sum(ROWS[name] for name in span.shards) // 10
    assert [span.turn for span in spans] == list(range(len(spans)))
