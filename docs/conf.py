"""How Sphinx makes the documentation: `make docs`."""

import json
import os
import sys
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import gallery_source  # noqa: E402
import make_reference  # noqa: E402

sys.path.insert(0, str(HERE.parent))
from bench.picture import draw  # noqa: E402

# What examples measure and learn stays out of the user's own record.
os.environ["PLANMATH_CACHE_DIR"] = tempfile.mkdtemp(prefix="planmath-docs-")

project = "planmath"
author = "The planmath developers"
project_copyright = "the planmath developers"
release = version_of("planmath")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**/*.ipynb", "gallery/**/*.py", "gallery/**/*.md5"]
templates_path = ["_templates"]
nitpicky = False
keep_warnings = True
suppress_warnings = ["config.cache"]  # functions in the gallery's settings

# -- pages -----------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Notebooks are stored without results, and executed here.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

# -- reference -------------------------------------------------------------------------------------------------------
make_reference.make(HERE / "reference")
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Links to other projects are made where their inventories can be fetched; the documentation is whole without.
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
    }
    if os.environ.get("PLANMATH_DOCS_INTERSPHINX")
    else {}
)

# -- gallery ---------------------------------------------------------------------------------------------------------
GALLERY = HERE / "_build" / "examples"
sphinx_gallery_conf = {
    "examples_dirs": str(GALLERY.relative_to(HERE)),
    "gallery_dirs": "gallery",
    "subsection_order": gallery_source.make(GALLERY),
    "filename_pattern": rf"/(?!{'|'.join(gallery_source.NOT_RUN)})[a-z_0-9]+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "image_scrapers": (),
    "reset_modules": (),
    "show_memory": False,
    "min_reported_time": 20,
}

# -- figures ---------------------------------------------------------------------------------------------------------
for recorded in (HERE / "verification").glob("*-bench.json"):
    draw(json.loads(recorded.read_text()), HERE / "figures" / f"{recorded.stem}.svg")

# -- looks -----------------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "planmath"
html_static_path = ["_static"]
html_css_files = ["planmath.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "planmath"},
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "friendly",
    "pygments_dark_style": "github-dark",
}
