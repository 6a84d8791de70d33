"""Outside to records: spool, telemetry, samples, transcripts; bad input is set aside."""
