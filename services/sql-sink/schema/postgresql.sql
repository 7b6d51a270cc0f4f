-- Written by `python -m tickloom_sql_sink.schema postgresql`; do not edit.

CREATE TABLE assets (
    symbol TEXT COLLATE "C" NOT NULL,
    chain TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C",
    sector TEXT COLLATE "C",
    risk_tags TEXT[],
    CONSTRAINT assets_key PRIMARY KEY (symbol, chain)
);

CREATE TABLE books (
    exchange TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C" NOT NULL,
    exchange_ts_utc TIMESTAMP WITH TIME ZONE,
    ingestion_ts_utc TIMESTAMP WITH TIME ZONE NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    kind TEXT COLLATE "C",
    sequence BIGINT,
    previous_sequence BIGINT,
    best_bid DOUBLE PRECISION,
    best_ask DOUBLE PRECISION,
    spread_bps DOUBLE PRECISION,
    bid_prices DOUBLE PRECISION[] NOT NULL,
    bid_sizes DOUBLE PRECISION[] NOT NULL,
    ask_prices DOUBLE PRECISION[] NOT NULL,
    ask_sizes DOUBLE PRECISION[] NOT NULL,
    ordinal BIGINT NOT NULL
)
 PARTITION BY RANGE (ingestion_ts_utc);

CREATE INDEX books_time ON books (ingestion_ts_utc);

CREATE UNIQUE INDEX books_key ON books (exchange, symbol, ingestion_ts_utc, ordinal);

CREATE TABLE connection_events (
    ts TIMESTAMP WITH TIME ZONE NOT NULL,
    exchange TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C",
    channel TEXT COLLATE "C",
    kind TEXT COLLATE "C",
    detail TEXT COLLATE "C",
    count BIGINT,
    range_start TIMESTAMP WITH TIME ZONE,
    range_end TIMESTAMP WITH TIME ZONE,
    receive_time_ns BIGINT NOT NULL,
    ordinal BIGINT NOT NULL
)
 PARTITION BY RANGE (ts);

CREATE INDEX connection_events_time ON connection_events (ts);

CREATE UNIQUE INDEX connection_events_key ON connection_events (exchange, ts, ordinal);

CREATE TABLE derivatives (
    exchange TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C" NOT NULL,
    exchange_ts_utc TIMESTAMP WITH TIME ZONE,
    ingestion_ts_utc TIMESTAMP WITH TIME ZONE NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    mark_price DOUBLE PRECISION,
    index_price DOUBLE PRECISION,
    funding_rate DOUBLE PRECISION,
    open_interest DOUBLE PRECISION,
    basis DOUBLE PRECISION,
    ordinal BIGINT NOT NULL
)
 PARTITION BY RANGE (ingestion_ts_utc);

CREATE INDEX derivatives_time ON derivatives (ingestion_ts_utc);

CREATE UNIQUE INDEX derivatives_key ON derivatives (exchange, symbol, ingestion_ts_utc, ordinal);

CREATE TABLE market_ticks (
    exchange TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C" NOT NULL,
    exchange_ts_utc TIMESTAMP WITH TIME ZONE,
    ingestion_ts_utc TIMESTAMP WITH TIME ZONE NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    last DOUBLE PRECISION,
    bid DOUBLE PRECISION,
    bid_size DOUBLE PRECISION,
    ask DOUBLE PRECISION,
    ask_size DOUBLE PRECISION,
    open DOUBLE PRECISION,
    high DOUBLE PRECISION,
    low DOUBLE PRECISION,
    vwap DOUBLE PRECISION,
    base_volume DOUBLE PRECISION,
    quote_volume DOUBLE PRECISION,
    change_percent DOUBLE PRECISION,
    ordinal BIGINT NOT NULL
)
 PARTITION BY RANGE (ingestion_ts_utc);

CREATE INDEX market_ticks_time ON market_ticks (ingestion_ts_utc);

CREATE UNIQUE INDEX market_ticks_key ON market_ticks (exchange, symbol, ingestion_ts_utc, ordinal);

CREATE TABLE sink_positions (
    partition INTEGER NOT NULL,
    stream TEXT COLLATE "C" NOT NULL,
    stream_created TEXT COLLATE "C" NOT NULL,
    last_sequence BIGINT NOT NULL,
    writer_window TEXT COLLATE "C" NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT sink_positions_key PRIMARY KEY (partition, stream, stream_created)
);

CREATE TABLE ticks (
    exchange TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C" NOT NULL,
    ts TIMESTAMP WITH TIME ZONE NOT NULL,
    exchange_ts_utc TIMESTAMP WITH TIME ZONE,
    ingestion_ts_utc TIMESTAMP WITH TIME ZONE NOT NULL,
    receive_time_ns BIGINT NOT NULL,
    price DOUBLE PRECISION,
    quantity DOUBLE PRECISION,
    side TEXT COLLATE "C",
    trade_id TEXT COLLATE "C",
    ordinal BIGINT NOT NULL
)
 PARTITION BY RANGE (ts);

CREATE INDEX ticks_time ON ticks (ts);

CREATE UNIQUE INDEX ticks_key ON ticks (exchange, symbol, ts, trade_id, ordinal) NULLS NOT DISTINCT;
