"""A template that renders a valid file from some secrets has no findings."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.path_scope import PathScope
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.ops.lint.policy.templates import TemplateOutput, Templates
from lessee.rendering.formats import write
from lessee.rendering.templates import Compiler, Renderer

SPACE = PathScope("secret", "production/")
DATA = {
    "text": "a,b",
    "word": "word",
    "number": 5,
    "on": True,
    "list": ["x", "y"],
    "map": {"x": "1", "deep": {"y": "2"}},
    "maps": [{"name": "m1", "port": 1}, {"name": "m2", "port": 2}],
    "encoded": "bW9yZQ==",
}
EXPRESSIONS = (
    "s.text", "s.number", "s.number + 1", "s.number * 2 - 1", "s.on", "s.text ~ s.number", "s.text.split(',')[0]",
    "s.text[1:]", "s.text | urlencode", "s.number | string | upper", "s.list | join('-')", "s.list[0]", "s.list | last",
    "s.map.deep.y", "s['map'].x", "s.map | json", "s.maps[0].name", "s.maps | map(attribute='port') | sum",
    "s.encoded | b64decode", "s.get('word', 'd')", "s.none | default('d')", "s.word if s.on else s.number",
    "env('X', '1') | int + s.number", "'yes' if s.list is iterable else 'no'", "s.map.deep | length",
)  # fmt: skip
LINES = {
    "dotenv": (
        "A_#={{ ? }}\n",
        "A_#='{{ ? }} {{ ? }}'\n",
        "{{ s.word }}_#={{ ? }}\n",
        "{% for v in s.list %}A_#_{{ loop.index }}={{ v }}\n{% endfor %}",
        "{% for one in s.list %}{{ one }}_#={{ ? }}\n{% endfor %}",
        "{% for k, v in s.map.items() if v is string %}{{ k }}_#={{ v }}\n{% endfor %}",
        "{% for m in s.maps %}{{ m.name }}_#={{ m.port }}\n{% endfor %}",
        "{% for m in s.maps | sort(attribute='port') %}{{ m['name'] }}_#={{ m.port + 1 }}\n{% endfor %}",
        "{% if s.on %}A_#={{ ? }}\n{% else %}{{ ? }}\n{% endif %}",
        "{% set t = s.map.deep %}A_#={{ t.y }}\n",
        "{% macro m_#(x) %}A_#={{ x.deep.y }}\n{% endmacro %}{{ m_#(s.map) }}",
    ),
    "yaml": (
        "a_#: {{ ? }}\n",
        "a_#: 'x {{ ? }}'\n",
        "a_#: [{{ ? }}, {{ s.list }}]\n",
        "{{ s.word ~ '_#' }}: {{ ? }}\n",
        "a_#:\n{% for v in s.list %}\n- {{ v }}\n{% endfor %}\n",
        "a_#:\n{% for m in s.maps %}\n  {{ m.name }}: {{ m.port }}\n{% endfor %}\n",
        "a_#:\n{% for k, v in s.map | dictsort %}\n  {{ k }}: {{ v }}\n{% endfor %}\n",
    ),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("form", LINES)
@given(data=st.data())
def test_a_template_that_real_secrets_make_valid_has_no_findings(form, data):
    lines = data.draw(st.lists(st.sampled_from(LINES[form]), min_size=1, max_size=6))
    text = '{% set s = secret("a") %}\n'
    for number, line in enumerate(lines):
        first, *rest = line.replace("#", str(number)).split("?")
        text += first + "".join(data.draw(st.sampled_from(EXPRESSIONS)) + piece for piece in rest)
    load = {"app.j2": text}.__getitem__
    document = Renderer(SPACE, {Ref("secret", "production/a"): Secret(DATA)}, {}, {}, {}).render(
        Compiler(load, SPACE).compile("app.j2")
    )
    assert write(document, form)
    templates = Templates(PurePosixPath(), load, SPACE)
    templates.check([TemplateOutput("web", "app.j2", form, "app")])
    assert not templates.findings
