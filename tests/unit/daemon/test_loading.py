"""What a daemon imports on its way up."""

import json
import os
import subprocess
import sys

import pytest

_PROGRAM = """
import json, os
from minipod.daemon.loading import import_aiohttp
before = dict(os.environ)
import_aiohttp()
from aiohttp.connector import _SSL_CONTEXT_VERIFIED as context
print(json.dumps([context.cert_store_stats()["x509_ca"], dict(os.environ) == before]))
"""


@pytest.mark.parametrize("chosen", [{}, {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}])
def test_aiohttp_reads_no_certificates_and_the_environment_stays(chosen):
    command = [sys.executable, "-c", _PROGRAM]
    environment = {**os.environ, **chosen}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, True]
