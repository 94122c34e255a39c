"""Turning files and published data sets into ArrayRecord, once: `jaxgan prepare`."""
