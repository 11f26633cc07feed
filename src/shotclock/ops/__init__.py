"""Files with which a site operates the service: alerts, dashboard, units and runbooks."""
