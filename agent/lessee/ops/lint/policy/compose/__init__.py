"""What is wrong between a configuration and the Compose file that its apps run in."""
