#!/bin/sh
# `mc ready local`: the server answers, also with a denial.
curl --silent --output /dev/null http://127.0.0.1:9000/
