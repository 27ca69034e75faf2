# Sourced: makes the virtual environment (once per state of pyproject.toml) and puts it first on PATH.
# Usage: source recipes/environment.sh EXTRAS    e.g. synthetic,align
# AUDIO_VQ_VENV names an environment that has audio_vq already; it is used as it is.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "no Python 3.11 or newer found; install one and run this again" >&2
  exit 1
}

make_environment() {
  local extras=$1 state
  state="$extras $(sha256sum "$root/pyproject.toml" | cut -d' ' -f1)"
  if ! grep -qxF "$state" "$venv/installed" 2>/dev/null; then
    echo "installing into $venv (some minutes the first time)" >&2
    [ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extras]"
    echo "$state" >>"$venv/installed"
  fi
}

if [ -n "${AUDIO_VQ_VENV:-}" ]; then venv=$AUDIO_VQ_VENV; else make_environment "$1"; fi
export PATH="$venv/bin:$PATH"
