"""The master process: triggers that fire by themselves."""
