"""The watchdog process: checks of every action and component."""
