#!/usr/bin/env bash
# Makes the environment and runs every check: format, lint, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/environment.sh dev
ruff format --check
ruff check
mypy
pytest -n auto --maxprocesses 4 --dist worksteal "$@"
