"""A Zoho that runs on a laptop: Books v3, Inventory v1, OAuth and workflow webhooks, faithful to what was recorded.

`options` is light and may be read by anybody; `server.serve` starts one; `python -m actors.sandbox` is its process.
"""
