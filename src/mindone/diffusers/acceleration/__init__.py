"""The speed-ups, added to networks and pipelines from outside."""
