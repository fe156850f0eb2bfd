"""One schema for ledger, keys and control: engine, tables, migrations. No queries of the domain."""
