"""`certificate-expiry`: the service has a certificate that ends in a day, until the runbook replaces it."""

from __future__ import annotations

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import SERVER, Site, SitePlan


async def issue_short(site: Site) -> None:
    """Replaces the service's certificate by one that ends in a day; the site's authority renews it at once.

    The renewed one waits as `new.pem` and `new.key`, as an authority's answer to a request does.
    """
    site.authority.issue(SERVER, 60.0, file="new")
    site.authority.issue(SERVER, 1.0)


DRILL = Drill("certificate-expiry", issue_short, SitePlan(has_endpoint=True))
