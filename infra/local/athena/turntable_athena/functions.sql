-- Trino functions that DuckDB lacks or renders differently. dialect.py rewrites calls to them if the names differ.

-- Trino's CAST(x AS varchar): timestamps with three digits, doubles as 1.5E0.
-- Without lambdas: in a correlated subquery, DuckDB does not bind a lambda to a column of the outer query.
CREATE MACRO trino_of_digits(digits, exponent, minus) AS (
    minus || CASE WHEN ltrim(digits, '0') = '' THEN '0E0' ELSE
        left(ltrim(digits, '0'), 1) || '.' || coalesce(nullif(rtrim(substr(ltrim(digits, '0'), 2), '0'), ''), '0')
            || 'E' || (exponent - (length(digits) - length(ltrim(digits, '0'))))::VARCHAR
        END);
CREATE MACRO trino_of_mantissa(mantissa, exponent, minus) AS
    trino_of_digits(replace(mantissa, '.', ''), exponent + length(split_part(mantissa, '.', 1)) - 1, minus);
CREATE MACRO trino_scientific(s) AS (
    CASE WHEN s IN ('nan', 'inf', '-inf') THEN CASE s WHEN 'nan' THEN 'NaN' WHEN 'inf' THEN 'Infinity' ELSE '-Infinity' END
    ELSE trino_of_mantissa(
        split_part(ltrim(s, '-'), 'e', 1),
        coalesce(try_cast(split_part(s, 'e', 2) AS INTEGER), 0),
        CASE WHEN s LIKE '-%' THEN '-' ELSE '' END)
    END);
CREATE MACRO trino_varchar(x) AS (
    CASE typeof(x)
        WHEN 'TIMESTAMP' THEN strftime(try_cast(x::VARCHAR AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g')
        WHEN 'TIMESTAMP WITH TIME ZONE' THEN strftime(try_cast(left(x::VARCHAR, -3) AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g UTC')
        WHEN 'DOUBLE' THEN trino_scientific(x::VARCHAR)
        WHEN 'FLOAT' THEN trino_scientific(x::VARCHAR)
        ELSE x::VARCHAR
    END);
CREATE MACRO to_iso8601(x) AS (
    CASE typeof(x)
        WHEN 'DATE' THEN x::VARCHAR
        WHEN 'TIMESTAMP' THEN strftime(try_cast(x::VARCHAR AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%g')
        ELSE strftime(try_cast(left(x::VARCHAR, -3) AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%gZ')
    END);

CREATE MACRO arrays_overlap(a, b) AS list_has_any(a, b);
CREATE MACRO codepoint(s) AS unicode(s);
CREATE MACRO normalize(s) AS nfc_normalize(s);
CREATE MACRO map_agg(k, v) AS map_from_entries(list({k: k, v: v}));
CREATE MACRO every(x) AS bool_and(x);
CREATE MACRO nan() AS 'nan'::DOUBLE;
CREATE MACRO infinity() AS 'inf'::DOUBLE;

-- Arrays and maps: DuckDB has a function for each, but a macro must bind for both.
CREATE MACRO cardinality_of(x) AS (
    CASE
        WHEN x IS NULL THEN NULL
        WHEN typeof(x) LIKE 'MAP(%' THEN len(json_keys(to_json(x)))
        ELSE json_array_length(to_json(x))
    END);

-- In Trino, division of integers and decimals by zero fails; in DuckDB it gives null.
CREATE MACRO trino_divide(a, b) AS (
    CASE
        WHEN b = 0 AND typeof(a) NOT IN ('DOUBLE', 'FLOAT') AND typeof(b) NOT IN ('DOUBLE', 'FLOAT') THEN error('Division by zero')
        ELSE a / b
    END);
CREATE MACRO trino_modulo(a, b) AS (
    CASE
        WHEN b = 0 AND typeof(a) NOT IN ('DOUBLE', 'FLOAT') AND typeof(b) NOT IN ('DOUBLE', 'FLOAT') THEN error('Division by zero')
        ELSE a % b
    END);
