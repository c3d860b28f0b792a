"""The providers whose keys nginx can add to requests of a browser: where they are, and the header of the key."""

from lessee.core.immutable import ImmutableStruct


class Upstream(ImmutableStruct, frozen=True):
    """A provider. `name`: that of its secret below `api-keys/`. `scheme`: what precedes the key in its header."""

    name: str
    host: str
    header: str = "Authorization"
    scheme: str = "Bearer "

    @property
    def location(self) -> str:
        """The path on the site that takes the provider's place."""
        return f"/api/{self.name}/"

    def template(self, path: str, field: str) -> str:
        """The template of the file that nginx includes in this location; the key is in `path`."""
        return (
            f"# nginx includes this in the location that forwards to {self.host}: it adds the key there, and no browser"
            f' gets it.\nproxy_set_header {self.header} "{self.scheme}{{{{ secret("{path}").{field} }}}}";\n'
            f'proxy_set_header Cookie "";\nproxy_hide_header {self.header};\nproxy_hide_header Set-Cookie;\n'
        )

    def nginx(self, include: str) -> str:
        """The location for the server block of the site. `include`: the file that lessee renders."""
        return (
            f"# Every client that reaches this location uses the key: let only users in (auth_request, limit_req).\n"
            f"location {self.location} {{\n"
            f"    include {include};\n"
            f"    proxy_pass https://{self.host}/;\n"
            f"    proxy_ssl_server_name on;\n"
            f"    proxy_ssl_verify on;\n"
            f"    proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;\n"
            f"}}\n"
        )


UPSTREAMS = {
    one.name: one
    for one in (
        Upstream("openrouter", "openrouter.ai"),
        Upstream("openai", "api.openai.com"),
        Upstream("anthropic", "api.anthropic.com", "x-api-key", ""),
        Upstream("mistral", "api.mistral.ai"),
        Upstream("groq", "api.groq.com"),
        Upstream("deepseek", "api.deepseek.com"),
        Upstream("cohere", "api.cohere.com"),
        Upstream("gemini", "generativelanguage.googleapis.com", "x-goog-api-key", ""),
        Upstream("huggingface", "router.huggingface.co"),
        Upstream("replicate", "api.replicate.com"),
        Upstream("elevenlabs", "api.elevenlabs.io", "xi-api-key", ""),
        Upstream("tavily", "api.tavily.com"),
        Upstream("brave-search", "api.search.brave.com", "X-Subscription-Token", ""),
        Upstream("github", "api.github.com"),
        Upstream("stripe", "api.stripe.com"),
        Upstream("tmdb", "api.themoviedb.org"),
    )
}
"""By the names that `providers` gives their secrets."""
