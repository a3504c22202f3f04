"""A vendor's own package, compiled against the installed cordboard: Cython finds its .pxd files in site-packages."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(packages=["acme"], ext_modules=cythonize([Extension("acme.engine", ["acme/engine.pyx"])], language_level="3"))
