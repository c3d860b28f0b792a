"""lessee: a sidecar that renders secrets to files, keeps them fresh, and tells the app."""

__version__ = "0.2.0"
