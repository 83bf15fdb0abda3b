"""The vendor simulator for the gateway's tests."""

from support.vendor import vendor, vendor_process

__all__ = ["vendor", "vendor_process"]
