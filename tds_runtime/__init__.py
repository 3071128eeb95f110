"""A supervision engine for structured concurrency."""
