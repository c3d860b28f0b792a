"""The templates of Go, as text/template reads them."""
