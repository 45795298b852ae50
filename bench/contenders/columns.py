"""The table's columns as SQL, for contenders that change jsonb's text."""

NAMES = """id, uuid, login, name, email, age, active, prefecture, born, created_at, updated_at, left_at, balance, score, ratio, note,
    segment, token, hash, visits"""


def query(table: str, url: str) -> str:
    """Returns a query for the whole table. Without the cast, these contenders write JSON without PostgreSQL's spaces."""
    json = "attributes::text AS attributes" if url.startswith("postgresql:") else "attributes"
    return f"SELECT {NAMES}, {json}, city FROM {table}"
