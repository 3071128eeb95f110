"""What a fetch task becomes: asking the source, and what its answer does to the task."""
