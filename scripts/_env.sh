# Sourced by the other scripts: finds a Python and keeps the project's virtual environment up to date. Not run by itself.
# TRADESESSION_VENV names another place for it, PYTHON another interpreter.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
unset PYTHONDONTWRITEBYTECODE  # where it is set, each of the hundreds of processes that the tests start would compile everything again

# python_of 3.13: the path of that version, from PATH or from pyenv; nothing when the machine has none.
python_of() {
  local pyenv_version
  pyenv_version=$(pyenv latest "$1" 2>/dev/null || true)
  for setting in "" "$pyenv_version"; do
    PYENV_VERSION=$setting "python$1" -c 'import sys; print(sys.executable)' 2>/dev/null && return
  done
  return 0
}

find_python() {  # the first interpreter of at least 3.11
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "no Python of version 3.11 or newer was found: install one, or name it as PYTHON=/path/to/python3" >&2
  return 1
}

# make_venv DIRECTORY PYTHON [PIP ARGUMENT…]: quick when nothing has changed since the last time.
make_venv() {
  local venv=$1 python=$2
  shift 2
  local stamp="$venv/.made-from" wanted
  wanted=$({ "$python" --version; cat pyproject.toml; echo "$@"; } | cksum)
  if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  echo "making $(basename "$venv") with $("$python" --version) (once)…" >&2
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"  # the first that reads dependency groups
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev "$@"
  echo "$wanted" >"$stamp"
}

venv=${TRADESESSION_VENV:-$root/.venv}
