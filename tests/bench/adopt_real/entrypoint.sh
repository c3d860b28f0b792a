# Of all stores' images: a variable, or what is in the file that NAME_FILE names.
file_env() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$value" ] && [ -n "$file" ]; then echo "error: both $1 and $1_FILE are set" >&2; exit 1; fi
    [ -z "$file" ] || value=$(cat "$file")
    if [ -n "$value" ]; then export "$1=$value"; fi
    unset "$1_FILE"
}
