"""Renders templates and secrets to files. Pure: values stay separate from the text until the format writes them."""
