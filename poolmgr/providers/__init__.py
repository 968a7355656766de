"""Who makes VMs and takes them back: one provider a file. Decides nothing (poolmgr/scaling/ does).

A provider is asked for a number of VMs in all, never for some more: so it does not matter if it is asked twice.
"""
