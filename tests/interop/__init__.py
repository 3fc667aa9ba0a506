"""Other people's clients against our sandbox, and our client against other people's servers. None of them is changed in any way.

Each foreign client has an environment of its own, made once into `.venv-interop/` of the project; their programs are in `scripts/`.
"""
