"""The watchdog process: checks of every action and component, and the upkeep of the store."""
