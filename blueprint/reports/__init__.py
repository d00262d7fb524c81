"""Views of the journal: log lines, summary, JSON record, document of failures."""
