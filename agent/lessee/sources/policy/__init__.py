"""What a source decides about the bytes that it reads, without reading them itself."""
