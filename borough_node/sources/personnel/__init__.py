"""The borough's own tables, read where they are, checked against the personnel contract, and kept as a snapshot."""
