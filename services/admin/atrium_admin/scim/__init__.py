"""SCIM 2.0 over HTTP (RFC 7643, RFC 7644): users and groups as outside directories write them."""
