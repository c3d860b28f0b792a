"""Shows an app its files, and reads them back."""
