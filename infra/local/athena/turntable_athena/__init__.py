"""A local Athena: its JSON protocol over DuckDB, on the Glue and the S3 of an AWS emulator."""
