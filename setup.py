"""Build of the compiled cores: the one list of modules and the one set of Cython directives.

`B3OS_DEBUG_BUILD=1` turns bounds checks and line tracing on for every core; the same tests run on it.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

CORES = (
    "cron",
    "dag",
    "expression",
    "price_index",
    "trigger_index",
    "trigger_rows",
)
DEBUG = os.environ.get("B3OS_DEBUG_BUILD") == "1"

DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "annotation_typing": False,
    "boundscheck": True,  # of lists, bytes and views; memory of our own is not checked by it
    "wraparound": DEBUG,
    "linetrace": DEBUG,
    "profile": DEBUG,
}
MACROS = [("CYTHON_TRACE_NOGIL", "1")] if DEBUG else []
#: Cython compares its own loop counters with ours; a first start shows no warnings that nobody can act on.
QUIET = ["-Wno-sign-compare"]

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"b3os._speedups.{core}",
                [f"b3os/_speedups/{core}.pyx"],
                define_macros=MACROS,
                extra_compile_args=[*QUIET, *(["-O2", "-g0"] if not DEBUG else ["-O0", "-g"])],
            )
            for core in CORES
        ],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
    ),
)
