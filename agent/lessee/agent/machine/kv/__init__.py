"""KV secrets: which ones the apps need, how each is polled, and which changes are reported."""
