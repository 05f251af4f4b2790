"""The speed-ups, put on networks and pipelines from outside."""
