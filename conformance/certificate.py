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


def certify_by_authority(folder):
    """Makes an authority and a certificate of it for 127.0.0.1, as clients want it that take no self-signed one: the paths of
    certificate, key and the authority's own certificate.
    """
    cert, key, authority = folder / "server.pem", folder / "server-key.pem", folder / "authority.pem"
    authority_key, request, extensions = folder / "authority-key.pem", folder / "request.pem", folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n")
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        ["req", "-x509", *fresh, "-days", "2", "-subj", "/CN=authority", "-keyout", authority_key, "-out", authority],
        ["req", "-new", *fresh, "-subj", "/CN=localhost", "-keyout", key, "-out", request],
        ["x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-days", "2",
         "-extfile", extensions, "-out", cert],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=60)
    return cert, key, authority
