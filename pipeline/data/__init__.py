"""Pictures in: one table of them, its splits, decoding, loading, taxonomy."""
