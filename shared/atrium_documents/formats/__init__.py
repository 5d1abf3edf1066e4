"""One reader per format: ``read(reading)`` fills ``reading.builder``."""
