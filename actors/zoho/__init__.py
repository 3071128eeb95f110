"""Zoho Books and Zoho Inventory: the client, its token, and the mapping of what they answer."""
