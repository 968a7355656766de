"""Of the tests that speak with moto's server, each has a group of its own."""

from tests.moto_server import descriptions_are_read_once as descriptions_are_read_once
