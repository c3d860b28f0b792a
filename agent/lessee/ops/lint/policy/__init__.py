"""Finding all that is wrong at once, without Vault."""
