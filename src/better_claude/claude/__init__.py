"""All that is known of the host: settings, hook inventory, transcripts, names, versions."""
