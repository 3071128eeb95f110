"""Measures the ratios that the design promises; each bench is one module with one `measure`."""
