from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom_core.config import ChannelConfig, ChannelName, VenueConfig
from tickloom_core.plan import Shard, VenueProfile
from tickloom_planner.pack import CHANNEL_WEIGHTS, make_shards, name_collectors, pack_shards
from tickloom_planner.profile import VenueStudy

SCORES = st.lists(st.floats(min_value=1.0, max_value=1e6), min_size=1, max_size=40)
ROUNDING = 1 + 1e-9


def make_study(score: float, symbols: dict[ChannelName, int], *, profiled: int) -> VenueStudy:
    names = [f"S{number}/USD" for number in range(max([profiled, *symbols.values()]))]
    profile = VenueProfile(
        exchange="kraken",
        mode="watch_tickers",
        symbols=tuple(names[:profiled]),
        seconds=10.0,
        ticks=1,
        bytes_total=1,
        reconnects=0,
        score=score,
    )
    return VenueStudy(profile, {channel: tuple(names[:count]) for channel, count in symbols.items()})


def make_venue(depth: int = 20) -> VenueConfig:
    return VenueConfig(channels={channel: ChannelConfig(depth=depth) for channel in CHANNEL_WEIGHTS})


def make_scored(scores: list[float]) -> list[Shard]:
    return [
        Shard(id=f"kraken.trades.{number}", exchange="kraken", channel="trades", symbols=("A/B",), score=score)
        for number, score in enumerate(scores)
    ]


@given(
    counts=st.dictionaries(st.sampled_from(["trades", "tickers", "books"]), st.integers(1, 250), min_size=1),
    shard_symbols=st.integers(1, 120),
)
def test_every_symbol_of_every_channel_is_in_exactly_one_shard(counts, shard_symbols):
    """Shards cover each channel's symbols once, and none is larger than allowed or smaller than the largest by two."""
    shards = make_shards(make_study(100.0, counts, profiled=5), make_venue(), shard_symbols=shard_symbols)
    covered = Counter((shard.channel, symbol) for shard in shards for symbol in shard.symbols)
    assert covered == Counter(
        (channel, f"S{number}/USD") for channel, count in counts.items() for number in range(count)
    )
    assert len({shard.id for shard in shards}) == len(shards)
    for channel in counts:
        sizes = [len(shard.symbols) for shard in shards if shard.channel == channel]
        assert max(sizes) <= shard_symbols
        assert max(sizes) - min(sizes) <= 1


def test_shards_add_up_to_the_score_of_a_fully_profiled_venue():
    """A venue's score is divided over its shards, books heaviest and tickers lightest."""
    shards = make_shards(
        make_study(900.0, {"trades": 4, "tickers": 4, "books": 4}, profiled=4), make_venue(), shard_symbols=4
    )
    assert {shard.channel: shard.score for shard in shards} == pytest.approx(
        {"trades": 200.0, "tickers": 100.0, "books": 600.0}
    )


def test_symbols_beyond_the_profiled_ones_weigh_as_much_as_those():
    """The score is of the profiled symbols: ten times as many symbols weigh ten times as much."""
    shards = make_shards(make_study(900.0, {"trades": 40}, profiled=4), make_venue(), shard_symbols=100)
    assert sum(shard.score for shard in shards) == pytest.approx(9000.0)


def test_only_books_have_a_depth():
    """The depth of the configuration reaches the shards of order books, and no others."""
    study = make_study(1.0, {"trades": 1, "books": 1}, profiled=1)
    depths = {shard.channel: shard.depth for shard in make_shards(study, make_venue(depth=50), shard_symbols=10)}
    assert depths == {"trades": 0, "books": 50}


@given(scores=SCORES, workers=st.integers(1, 8), random=st.randoms())
def test_the_order_of_the_shards_does_not_matter(scores, workers, random):
    """The same shards are packed the same way whatever order they come in."""
    shards = make_scored(scores)
    shuffled = random.sample(shards, len(shards))
    assert pack_shards(shuffled, name_collectors(workers)) == pack_shards(shards, name_collectors(workers))


@given(scores=SCORES, workers=st.integers(1, 8))
def test_no_collector_exceeds_the_mean_by_more_than_one_shard(scores, workers):
    """Each shard is packed exactly once, and the largest load is at most the mean and the heaviest shard."""
    loads = pack_shards(make_scored(scores), name_collectors(workers))
    assert sorted(shard.id for load in loads for shard in load.shards) == sorted(s.id for s in make_scored(scores))
    largest = max(load.total_score for load in loads)
    assert largest <= (sum(scores) / workers + max(scores)) * ROUNDING


@given(scores=st.lists(st.floats(1.0, 1e6), min_size=1, max_size=8), workers=st.integers(1, 4))
def test_packing_is_within_four_thirds_of_the_best(scores, workers):
    """Graham's bound of longest processing time first holds: at most 4/3 of the best possible largest load."""
    largest = max(load.total_score for load in pack_shards(make_scored(scores), name_collectors(workers)))
    assert largest <= 4 / 3 * best_makespan(sorted(scores, reverse=True), [0.0] * workers) * ROUNDING


def best_makespan(scores: list[float], loads: list[float]) -> float:
    if not scores:
        return max(loads)
    first, *rest = scores
    tried = {load: position for position, load in enumerate(loads)}
    return min(
        best_makespan(rest, [load + first * (position == index) for index, load in enumerate(loads)])
        for position in tried.values()
    )


def test_collectors_are_kept_in_the_order_of_their_numbers():
    """The plan lists collector-2 before collector-10."""
    loads = pack_shards([], name_collectors(12))
    assert [load.collector for load in loads] == [f"collector-{number}" for number in range(12)]
