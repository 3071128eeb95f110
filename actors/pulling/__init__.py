"""How a run reads an entity: page by page, dropping what is stored, enqueuing the rest together with its place."""
