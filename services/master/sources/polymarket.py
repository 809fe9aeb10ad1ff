"""All triggers on Polymarket, and their sources: trades of markets, bets of users, markets that open and close."""

import time
from collections.abc import Callable, Collection

from b3os.actions.upstreams import Upstreams
from b3os.detect.polymarket import MARKET_TRADE, POLYMARKET_TYPES, MarketWatch, parse_polymarket_watch
from b3os.detect.polymarket_place import Limits
from b3os.settings import Settings
from b3os.store.pool import Pool
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter
from services.master.sources.polymarket_api import SPACING_S, PolymarketApi
from services.master.sources.polymarket_feed import Channel, live_feed
from services.master.sources.polymarket_markets import MarketSource
from services.master.sources.polymarket_trades import OF_MARKETS, OF_USERS, WAIT_S, TradeSource
from services.master.sources.polymarket_watched import TRADES
from services.master.table import Table


class Polymarket:
    """The family of Polymarket."""

    types = POLYMARKET_TYPES

    def __init__(
        self, settings: Settings, *, upstreams: Upstreams, admitter: Admitter, pool: Pool, table: Table,
        spacing_s: float = SPACING_S, monotonic: Callable[[], float] = time.monotonic, limits: Limits = TRADES,
        wait_s: float = WAIT_S,
    ) -> None:  # fmt: skip
        def api() -> PolymarketApi:
            return PolymarketApi(upstreams, spacing_s=spacing_s, monotonic=monotonic)

        channel, live = settings.polymarket_channel_url, settings.polymarket_live_url
        self.trades = TradeSource(
            OF_MARKETS, Channel(channel, monotonic), api(), admitter=admitter, pool=pool, table=table,
            monotonic=monotonic, limits=limits, wait_s=wait_s,
        )  # fmt: skip
        self.bets = TradeSource(
            OF_USERS, live_feed(live, monotonic), api(), admitter=admitter, pool=pool, table=table,
            monotonic=monotonic, limits=limits, wait_s=wait_s,
        )  # fmt: skip
        self.markets = MarketSource(
            Channel(channel, monotonic, has_news=True), api(), admitter=admitter, pool=pool, table=table,
            monotonic=monotonic, wait_s=wait_s,
        )  # fmt: skip

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add a trigger, or replace one of its type: the table drops one of another. Raises BadInput."""
        watch = parse_polymarket_watch(row.type, row.payload)
        if isinstance(watch, MarketWatch):
            self.markets.put(slot, watch)
        else:
            (self.trades if watch.type == MARKET_TRADE else self.bets).put(slot, watch)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        for source in (self.trades, self.bets, self.markets):
            source.drop(slot)

    def wanted(self) -> Collection[TradeSource | MarketSource]:
        """Return the sources that some trigger listens to."""
        return [source for source in (self.trades, self.bets, self.markets) if source.is_wanted]
