"""Adapters, one module a framework: the only places that import one."""
