"""The API process: REST, inbound webhooks, run streams."""
