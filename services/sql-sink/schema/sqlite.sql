-- Written by `python -m tickloom_sql_sink.schema sqlite`; do not edit.

CREATE TABLE assets (
    symbol TEXT NOT NULL,
    chain TEXT NOT NULL,
    address TEXT,
    sector TEXT,
    risk_tags JSON,
    CONSTRAINT assets_key PRIMARY KEY (symbol, chain)
);

CREATE TABLE books (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    exchange_ts_utc DATETIME,
    ingestion_ts_utc DATETIME NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    kind TEXT,
    sequence BIGINT,
    previous_sequence BIGINT,
    best_bid DOUBLE,
    best_ask DOUBLE,
    spread_bps DOUBLE,
    bid_prices JSON NOT NULL,
    bid_sizes JSON NOT NULL,
    ask_prices JSON NOT NULL,
    ask_sizes JSON NOT NULL,
    ordinal BIGINT NOT NULL
);

CREATE INDEX books_time ON books (ingestion_ts_utc);

CREATE UNIQUE INDEX books_key ON books (exchange, symbol, ingestion_ts_utc, ordinal);

CREATE TABLE connection_events (
    ts DATETIME NOT NULL,
    exchange TEXT NOT NULL,
    symbol TEXT,
    channel TEXT,
    kind TEXT,
    detail TEXT,
    count BIGINT,
    range_start DATETIME,
    range_end DATETIME,
    receive_time_ns BIGINT NOT NULL,
    ordinal BIGINT NOT NULL
);

CREATE INDEX connection_events_time ON connection_events (ts);

CREATE UNIQUE INDEX connection_events_key ON connection_events (exchange, ts, ordinal);

CREATE TABLE derivatives (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    exchange_ts_utc DATETIME,
    ingestion_ts_utc DATETIME NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    mark_price DOUBLE,
    index_price DOUBLE,
    funding_rate DOUBLE,
    open_interest DOUBLE,
    basis DOUBLE,
    ordinal BIGINT NOT NULL
);

CREATE INDEX derivatives_time ON derivatives (ingestion_ts_utc);

CREATE UNIQUE INDEX derivatives_key ON derivatives (exchange, symbol, ingestion_ts_utc, ordinal);

CREATE TABLE market_ticks (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    exchange_ts_utc DATETIME,
    ingestion_ts_utc DATETIME NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    last DOUBLE,
    bid DOUBLE,
    bid_size DOUBLE,
    ask DOUBLE,
    ask_size DOUBLE,
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    vwap DOUBLE,
    base_volume DOUBLE,
    quote_volume DOUBLE,
    change_percent DOUBLE,
    ordinal BIGINT NOT NULL
);

CREATE INDEX market_ticks_time ON market_ticks (ingestion_ts_utc);

CREATE UNIQUE INDEX market_ticks_key ON market_ticks (exchange, symbol, ingestion_ts_utc, ordinal);

CREATE TABLE sink_positions (
    partition INTEGER NOT NULL,
    stream TEXT NOT NULL,
    stream_created TEXT NOT NULL,
    last_sequence BIGINT NOT NULL,
    writer_window TEXT NOT NULL,
    updated_at DATETIME NOT NULL,
    CONSTRAINT sink_positions_key PRIMARY KEY (partition, stream, stream_created)
);

CREATE TABLE ticks (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    ts DATETIME NOT NULL,
    exchange_ts_utc DATETIME,
    ingestion_ts_utc DATETIME NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    price DOUBLE,
    quantity DOUBLE,
    side TEXT,
    trade_id TEXT,
    ordinal BIGINT NOT NULL
);

CREATE INDEX ticks_time ON ticks (ts);

CREATE UNIQUE INDEX ticks_key ON ticks (exchange, symbol, ts, coalesce(trade_id, ''), ordinal);
