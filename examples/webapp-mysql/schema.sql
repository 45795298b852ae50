-- The application's tables, as far as the datasets read them.

CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    email VARCHAR(255) NOT NULL,
    prefecture VARCHAR(16) NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE orders (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    total DECIMAL(12, 2) NOT NULL,
    ordered_at TIMESTAMP NOT NULL
);

-- A user who may read these tables and nothing else.
CREATE USER turntable IDENTIFIED BY '…';
GRANT SELECT ON shop.users TO turntable;
GRANT SELECT ON shop.orders TO turntable;
