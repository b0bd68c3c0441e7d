"""Certificates of this machine, made by openssl."""

import subprocess


def certify(folder, is_authority=True):
    """Makes a self-signed certificate for 127.0.0.1: the paths of certificate and key. Some clients take none of an
    authority's own.
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    constraints = "basicConstraints=critical,CA:" + ("TRUE" if is_authority else "FALSE")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", constraints, "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key
