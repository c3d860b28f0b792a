"""Where an agent hears of changes, and how long it waits there."""
