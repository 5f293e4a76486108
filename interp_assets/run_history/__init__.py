"""How the run history is written: `embedded` in a store's sqlite files, `postgres` in a server's database."""
