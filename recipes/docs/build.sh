#!/usr/bin/env bash
# The documentation as a site in work/docs: bash recipes/docs/build.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../environment.sh" docs,synthetic
mkdocs build --quiet --strict --config-file "$here/mkdocs.yml"
echo "$root/work/docs/index.html    with search: python -m http.server --bind 127.0.0.1 --directory $root/work/docs"
