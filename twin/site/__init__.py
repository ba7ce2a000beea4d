"""What exists: the halls, racks, units and nameplate numbers of a site, each number with its source.

``load_site`` reads ``sites/*.yaml`` into a :class:`Site` with its layout, units and graph; ``weather``
holds typical years. To add a site, write one YAML file into ``sites/`` (``like:`` another, if it is one).
"""

from twin.site.graph import SiteGraph
from twin.site.layout import Layout
from twin.site.loader import load_site, site_names
from twin.site.models import Site, Source
from twin.site.units import Unit

__all__ = ["Layout", "Site", "SiteGraph", "Source", "Unit", "load_site", "site_names"]
