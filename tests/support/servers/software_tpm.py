"""A TPM in software (swtpm), with keys that never leave it, and the configuration with which OpenSSL uses them."""

import shutil
import subprocess
import time
from pathlib import Path

from support.needs import need

_PATIENCE = 60
CONFIGURATION = """\
openssl_conf = at_start
[at_start]
providers = providers
[providers]
default = usual
tpm2 = tpm
[usual]
activate = 1
[tpm]
activate = 1
"""


class SoftwareTpm:
    """Runs until it is closed. `environ` has the variables with which OpenSSL uses it."""

    def __init__(self, folder):
        need(shutil.which("swtpm"), "needs a TPM in software (Debian: swtpm)")
        need(
            list(Path("/usr/lib").glob("*/ossl-modules/tpm2.so")), "needs OpenSSL's TPM provider (Debian: tpm2-openssl)"
        )
        self._folder = Path(folder) / "tpm"
        self._folder.mkdir()
        path = self._folder / "s"
        self._process = subprocess.Popen(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder}"),
                *("--server", f"type=unixio,path={path}", "--ctrl", f"type=unixio,path={path}.ctrl"),
                *("--flags", "not-need-init,startup-clear"),
            ],
            stderr=subprocess.DEVNULL,
        )
        configuration = self._folder / "openssl.cnf"
        configuration.write_text(CONFIGURATION)
        # A real one is found without the second variable.
        self.environ = {"OPENSSL_CONF": str(configuration), "TPM2OPENSSL_TCTI": f"swtpm:path={path}"}

    def make_key(self, key, certificate, *, common_name):
        """Make a key in the TPM, whose file only this TPM can use, and a certificate that it signs itself."""
        deadline = time.monotonic() + _PATIENCE
        made = ("genpkey", "-propquery", "provider=tpm2", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", key)
        while self._openssl(*made).returncode != 0:
            assert time.monotonic() < deadline, self._openssl(*made).stderr
            time.sleep(0.05)
        signed = ("req", "-new", "-x509", "-key", key, "-subj", f"/CN={common_name}", "-days", "1", "-out", certificate)
        done = self._openssl(*signed, "-propquery", "?provider=tpm2", "-addext", "extendedKeyUsage=clientAuth")
        assert done.returncode == 0, done.stderr

    def close(self):
        self._process.kill()
        self._process.wait()

    def _openssl(self, *arguments):
        environ = {"PATH": "/usr/bin:/bin"} | self.environ
        return subprocess.run(["openssl", *arguments], env=environ, capture_output=True, text=True, check=False)
