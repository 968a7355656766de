"""The providers that make VMs and end them, one file each. They decide nothing (poolmgr/scaling/ does).

A provider is asked for a number of VMs in all, never for some more. So it does not matter if it is asked twice.
"""
