"""The state in SQL: SQLite on one node, MariaDB Galera on a cluster. The only room that knows SQL."""
