"""KV secrets: which ones the apps need, when each is polled, and which changes an event source reports."""
