"""Alerts: rules over events and samples, one store for every alert, who is told of it, and the ways to tell."""
