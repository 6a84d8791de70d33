"""The database: schema, migrations, one writer, any number of readers."""
