"""The server that the other tests rely on."""

from __future__ import annotations


def test_every_test_gets_an_empty_database_that_holds_chinese(postgres_url):
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        connection.execute("CREATE TABLE names (name text)")
        connection.execute("INSERT INTO names VALUES ('张伟')")
        names = connection.execute("SELECT name, length(name) FROM names").fetchall()
    assert tables == (0,)
    assert names == [("张伟", 2)]


def test_another_test_gets_another_one(postgres_url):
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT to_regclass('names')").fetchone() == (None,)
