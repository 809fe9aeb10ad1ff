"""Effects that the worker carries out itself: call.py (what one is given), registry.py (all), a file for each."""
