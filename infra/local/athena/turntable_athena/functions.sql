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

-- Trino's CAST(x AS boolean), or TRY_CAST if `fails` is false.
CREATE MACRO trino_boolean(x, fails) AS (
    CASE
        WHEN typeof(x) <> 'VARCHAR' THEN try_cast(x AS BOOLEAN)
        WHEN lower(x::VARCHAR) IN ('true', 't', '1') THEN true
        WHEN lower(x::VARCHAR) IN ('false', 'f', '0') THEN false
        WHEN x IS NOT NULL AND fails THEN error('Cannot cast ''' || x::VARCHAR || ''' to BOOLEAN')
    END);

-- The text that becomes a decimal: Trino reads a varchar with Java's BigDecimal, which accepts no spaces and no underscores,
-- and a double as it is shown.
CREATE MACRO trino_is_written(x) AS typeof(x) IN ('VARCHAR', 'DOUBLE', 'FLOAT');
CREATE MACRO trino_number(x, target, fails) AS (
    CASE
        WHEN regexp_full_match(x::VARCHAR, '[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?') THEN x::VARCHAR
        WHEN x IS NOT NULL AND fails THEN error(
            CASE typeof(x)
                WHEN 'VARCHAR' THEN 'Cannot cast VARCHAR ''' || x::VARCHAR || ''' to ' || target || '. Value is not a number.'
                ELSE 'Cannot cast ' || replace(typeof(x), 'FLOAT', 'REAL') || ' ''' || trino_scientific(x::VARCHAR) || ''' to ' || target
            END)
    END);

-- What Java's Character.isWhitespace accepts: no no-break spaces.
CREATE MACRO trino_white_space() AS (
    chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(28) || chr(29) || chr(30) || chr(31) || chr(32) || chr(5760)
    || chr(8192) || chr(8193) || chr(8194) || chr(8195) || chr(8196) || chr(8197) || chr(8198) || chr(8200) || chr(8201)
    || chr(8202) || chr(8232) || chr(8233) || chr(8287) || chr(12288));
CREATE MACRO trino_replace(s, search, replacement) AS (
    CASE WHEN search = '' THEN regexp_replace(s, '', replace(replacement, '\', '\\'), 'g') ELSE replace(s, search, replacement) END);

CREATE MACRO arrays_overlap(a, b) AS list_has_any(a, b);
CREATE MACRO codepoint(s) AS unicode(s);
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
