"""How Sphinx makes the documentation: `make docs`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(ROOT / "src")]

import napari_unet  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
URLS = PROJECT["urls"]

project = "napari-unet"
author = "napari-unet contributors"
copyright = author
version = release = napari_unet.__version__

extensions = [
    "program_pages",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["accuracy", "figures"]
nitpicky = False  # of other projects' types no inventory is fetched

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

# Figures are drawn when the pages are made, by the functions that they are about.
plot_basedir = "figures"
plot_formats = [("png", 130)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# pydantic says of each settings class what all have
autodoc_default_options = {"exclude-members": "model_config, model_post_init"}

html_theme = "furo"
html_title = "napari-unet"
html_static_path = ["_static"]
html_css_files = ["napari-unet.css"]
html_theme_options = {
    "source_repository": URLS["Source"] + "/",
    "source_branch": "main",
    "source_directory": "docs/",
}
html_show_sphinx = False
# for `make docs-links`: what is there once the repository is
linkcheck_ignore = [re.escape(URLS[key]) + ".*" for key in ("Source", "Homepage")]
