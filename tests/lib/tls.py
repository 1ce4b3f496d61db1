"""A certificate of our own for a server called localhost."""
import pathlib
import subprocess


def make_certificate(folder):
    """(certificate, its key), both readable for the servers' user; also what a client trusts."""
    cert, key = pathlib.Path(folder) / "cert.pem", pathlib.Path(folder) / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    key.chmod(0o644)
    return cert, key
