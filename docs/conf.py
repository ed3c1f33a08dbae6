"""Configuration of the documentation site: make docs"""

import re
import shutil
from importlib import metadata
from pathlib import Path

from sphinx.util import logging

ROOT = Path(__file__).parents[1]

project = "grokjax"
author = "grokjax developers"
copyright = author
release = metadata.version("grokjax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["measures/**"]
html_theme = "furo"
html_title = f"grokjax {release}"

nb_execution_mode = "off"  # notebooks show their stored outputs; the tests run every cell
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_display_short_literal_types = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

default_role = "code"  # single backticks in docstrings
myst_url_schemes = {"http": None, "https": None, "mailto": None, "site": "{{path}}"}


def link_experiments(app, docname, source):
    """Point links at experiments/, which lies outside docs, at its copy in the built site."""
    up = "../" * docname.count("/")
    if docname == "experiments":
        text = (ROOT / "experiments" / "README.md").read_text()
        text = re.sub(r"\]\((?!\.\./|http)", "](../experiments/", text)
        source[0] = re.sub(r"\]\(\.\./docs/", "](", text)
    source[0] = re.sub(r"\]\((?:\.\./)+experiments/README\.md", f"]({up}experiments.md", source[0])
    if docname == "gallery/index":  # pages that are copied below
        source[0] = re.sub(r"\]\((\w+/\w+\.html)", r"](site:\1", source[0])
    for path in re.findall(r"\]\((?:\.\./)+(experiments/[^)#]+)", source[0]):
        if not (ROOT / path).exists():
            logging.getLogger(__name__).warning("%s links to %s, which is missing", docname, path)
    links = r"(?<!!)(\[[^\]]*\])\((?:\.\./)+experiments/"  # Sphinx copies pictures itself
    source[0] = re.sub(links, rf"\1(site:{up}experiments/", source[0])


def copy_results(app, error):
    if error is None:
        results = Path("experiments") / "results"
        shutil.copytree(ROOT / results, Path(app.outdir) / results, dirs_exist_ok=True)
        gallery, pages = Path(app.outdir) / "gallery", shutil.ignore_patterns("*.md")
        shutil.copytree(ROOT / "docs" / "gallery", gallery, ignore=pages, dirs_exist_ok=True)


def setup(app):
    app.connect("source-read", link_experiments)
    app.connect("build-finished", copy_results)
