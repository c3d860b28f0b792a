"""Renders or lints a chart with Helm's own library.

python helm_renderer.py FOLDER_OF_HELM < {"task": "render", "chart": …, "values": …, "name": …, "namespace": …}
"""

import json
import sys


def main(target, request):
    sys.path.insert(0, target)
    import helm_python  # noqa: PLC0415  # It is in a folder of its own.

    chart, values = request["chart"], request["values"]
    if request["task"] == "lint":
        found = helm_python.lint(chart, values, strict=True)
    else:
        with helm_python.Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            found = loaded.render(values, name=request["name"], namespace=request["namespace"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
