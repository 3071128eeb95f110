"""The daemon that keeps an ERP in step with Zoho: what lives in the tree."""
