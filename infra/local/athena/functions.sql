-- Trino functions that DuckDB lacks or renders otherwise. sql.py turns calls into these where names differ.

-- Trino's CAST(x AS varchar): timestamps with three digits, doubles as 1.5E0.
CREATE MACRO trino_scientific(s) AS (
    CASE WHEN s IN ('nan', 'inf', '-inf') THEN CASE s WHEN 'nan' THEN 'NaN' WHEN 'inf' THEN 'Infinity' ELSE '-Infinity' END
    ELSE list_transform(
        [{m: split_part(ltrim(s, '-'), 'e', 1), e: coalesce(try_cast(split_part(s, 'e', 2) AS INTEGER), 0), neg: s LIKE '-%'}],
        lambda p: list_transform(
            [{d: replace(p.m, '.', ''), e: p.e + length(split_part(p.m, '.', 1)) - 1, neg: p.neg}],
            lambda q: CASE WHEN ltrim(q.d, '0') = '' THEN (CASE WHEN q.neg THEN '-0E0' ELSE '0E0' END)
                ELSE (CASE WHEN q.neg THEN '-' ELSE '' END) || left(ltrim(q.d, '0'), 1) || '.'
                    || coalesce(nullif(rtrim(substr(ltrim(q.d, '0'), 2), '0'), ''), '0')
                    || 'E' || (q.e - (length(q.d) - length(ltrim(q.d, '0'))))::VARCHAR
            END)[1])[1]
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

-- Of arrays and maps: DuckDB has a function for each, and a macro must bind for both.
CREATE MACRO cardinality_of(x) AS (
    CASE
        WHEN x IS NULL THEN NULL
        WHEN typeof(x) LIKE 'MAP(%' THEN len(json_keys(to_json(x)))
        ELSE json_array_length(to_json(x))
    END);

-- Division of integers and decimals by zero fails in Trino; DuckDB's gives null.
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
