"""Chooses the provider that [scaling] names. A provider is imported only if it is used."""

import os

from common.config.settings import ScalingSettings
from poolmgr.providers.provider import Provider


def provider_of(settings: ScalingSettings) -> Provider | None:
    """None: VMs come and go by hand. Raises: CannotScaleError."""
    if settings.provider == "hook":
        from poolmgr.providers.hook import Hook

        return Hook(settings.command, settings.timeout_s)
    if settings.provider == "kubernetes":
        from poolmgr.providers.kubernetes import Kubernetes

        return Kubernetes(settings, os.environ)
    if settings.provider == "aws":
        from poolmgr.providers.aws import Aws

        return Aws(settings)
    if settings.provider == "gcp":
        from poolmgr.providers.gcp import Gcp

        return Gcp(settings, os.environ)
    return None
