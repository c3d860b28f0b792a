"""Renders and lints a chart with Helm's own library.

python helm_renderer.py FOLDER_OF_HELM < {"chart": …, "values": …, "name": …, "namespace": …}
"""

import json
import sys


def main(target, request):
    sys.path.insert(0, target)
    import helm_python  # noqa: PLC0415  # It is in a folder of its own.

    with helm_python.Chart.load(request["chart"]) as chart:
        chart.validate_schema(request["values"])
        rendered = chart.render(request["values"], name=request["name"], namespace=request["namespace"])
    lint = helm_python.lint(request["chart"], request["values"], strict=True)
    json.dump({"templates": rendered, "lint": lint}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
