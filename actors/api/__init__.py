"""The admin HTTP routes: a table of endpoints by subject, each with the role that it asks for."""
