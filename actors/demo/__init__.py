"""The main job on real data, played from beginning to end by real processes."""
